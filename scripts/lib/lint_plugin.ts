/**
 * The project's own lint rules, for `deno lint`.
 *
 * `weft/ffi-door`: raw foreign memory is touched below `ffi/` alone, so that a wrong pointer can
 * only be written there and the rest of the code stays as safe as the language.
 *
 * `weft/function-length`: a function that does not fit on a screen holds two. Functions that are
 * given to another as an argument (suites of tests) are not counted.
 *
 * @module
 */

/** Lines of a function, from its head to its closing brace. */
const FUNCTION_LINES_MAX = 70;

const plugin: Deno.lint.Plugin = {
  name: "weft",
  rules: {
    "ffi-door": {
      create(context) {
        if (context.filename.includes("/ffi/")) return {};
        const door = "MemberExpression[object.name=Deno][property.name=/^(dlopen|Unsafe)/]";
        return {
          [door](node: Deno.lint.MemberExpression): void {
            context.report({ node, message: "Raw foreign calls and pointers belong below ffi/" });
          },
        };
      },
    },
    "function-length": {
      create(context) {
        const check = (node: Deno.lint.FunctionDeclaration | Deno.lint.MethodDefinition): void => {
          const lines = context.sourceCode.getText(node).split("\n").length;
          if (lines <= FUNCTION_LINES_MAX) return;
          const message = `Function has ${lines} lines, want at most ${FUNCTION_LINES_MAX}`;
          context.report({ node, message });
        };
        return { FunctionDeclaration: check, MethodDefinition: check };
      },
    },
  },
};

export default plugin;

/**
 * The walkthrough as tests: the steps of `scripts/demo`, one test each, on the same stage.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Scene } from "@/tests/demo/scene.ts";
import { recordScreen } from "@/tests/demo/screen.ts";
import { playStep } from "@/tests/demo/step.ts";
import { STEPS } from "@/tests/demo/steps/mod.ts";

describe("the walkthrough", () => {
  let scene: Scene | undefined;

  before(async () => {
    scene = await Scene.open();
  });

  after(async () => {
    await scene?.[Symbol.asyncDispose]();
  });

  for (const step of STEPS) {
    it(`${step.number}. ${step.title}`, async () => {
      assert.ok(scene, "there is no stage");
      const lines: string[] = [];
      const { passed } = await playStep(step, scene, recordScreen(lines));
      assert.ok(passed, lines.join("\n"));
    });
  }
});

/**
 * The functions of libbpf (>= 1.3) that weft calls, as data: the C prototype above each row.
 *
 * Byte counts and flags are 32 bits wide where the C type is 64: the value is zero-extended in the
 * register, and a 64-bit type would take the call off V8's fast path.
 *
 * @module
 */

import { openLibrary, type Symbols } from "../dlopen.ts";

export const LIBBPF = {
  // libbpf_print_fn_t libbpf_set_print(libbpf_print_fn_t fn);
  libbpf_set_print: { parameters: ["pointer"], result: "pointer" },
  // int libbpf_num_possible_cpus(void);
  libbpf_num_possible_cpus: { parameters: [], result: "i32" },

  // struct bpf_object *bpf_object__open_mem(const void *buf, size_t size,
  //                                         const struct bpf_object_open_opts *opts);
  bpf_object__open_mem: { parameters: ["buffer", "usize", "buffer"], result: "pointer" },
  // int bpf_object__load(struct bpf_object *obj);
  bpf_object__load: { parameters: ["pointer"], result: "i32" },
  // void bpf_object__close(struct bpf_object *obj);
  bpf_object__close: { parameters: ["pointer"], result: "void" },
  // struct btf *bpf_object__btf(const struct bpf_object *obj);
  bpf_object__btf: { parameters: ["pointer"], result: "pointer" },
  // const void *btf__raw_data(const struct btf *btf, __u32 *size);
  btf__raw_data: { parameters: ["pointer", "buffer"], result: "pointer" },

  // struct bpf_map *bpf_object__next_map(const struct bpf_object *obj, const struct bpf_map *map);
  bpf_object__next_map: { parameters: ["pointer", "pointer"], result: "pointer" },
  // struct bpf_map *bpf_object__find_map_by_name(const struct bpf_object *obj, const char *name);
  bpf_object__find_map_by_name: { parameters: ["pointer", "buffer"], result: "pointer" },
  // const char *bpf_map__name(const struct bpf_map *map);
  bpf_map__name: { parameters: ["pointer"], result: "pointer" },
  // bool bpf_map__is_internal(const struct bpf_map *map);
  bpf_map__is_internal: { parameters: ["pointer"], result: "bool" },
  // enum bpf_map_type bpf_map__type(const struct bpf_map *map);
  bpf_map__type: { parameters: ["pointer"], result: "u32" },
  // __u32 bpf_map__key_size(const struct bpf_map *map);
  bpf_map__key_size: { parameters: ["pointer"], result: "u32" },
  // __u32 bpf_map__value_size(const struct bpf_map *map);
  bpf_map__value_size: { parameters: ["pointer"], result: "u32" },
  // __u32 bpf_map__max_entries(const struct bpf_map *map);
  bpf_map__max_entries: { parameters: ["pointer"], result: "u32" },
  // __u32 bpf_map__map_flags(const struct bpf_map *map);
  bpf_map__map_flags: { parameters: ["pointer"], result: "u32" },
  // int bpf_map__set_max_entries(struct bpf_map *map, __u32 max_entries);
  bpf_map__set_max_entries: { parameters: ["pointer", "u32"], result: "i32" },
  // int bpf_map__set_pin_path(struct bpf_map *map, const char *path);
  bpf_map__set_pin_path: { parameters: ["pointer", "buffer"], result: "i32" },
  // int bpf_map__reuse_fd(struct bpf_map *map, int fd);
  bpf_map__reuse_fd: { parameters: ["pointer", "i32"], result: "i32" },
  // const void *bpf_map__initial_value(const struct bpf_map *map, size_t *psize);
  bpf_map__initial_value: { parameters: ["pointer", "buffer"], result: "pointer" },
  // int bpf_map__fd(const struct bpf_map *map);
  bpf_map__fd: { parameters: ["pointer"], result: "i32" },

  // struct bpf_program *bpf_object__next_program(const struct bpf_object *obj,
  //                                              struct bpf_program *prog);
  bpf_object__next_program: { parameters: ["pointer", "pointer"], result: "pointer" },
  // const char *bpf_program__name(const struct bpf_program *prog);
  bpf_program__name: { parameters: ["pointer"], result: "pointer" },
  // int bpf_program__set_autoload(struct bpf_program *prog, bool autoload);
  bpf_program__set_autoload: { parameters: ["pointer", "bool"], result: "i32" },
  // int bpf_program__set_log_buf(struct bpf_program *prog, char *log_buf, size_t log_size);
  bpf_program__set_log_buf: { parameters: ["pointer", "buffer", "usize"], result: "i32" },
  // enum bpf_attach_type bpf_program__expected_attach_type(const struct bpf_program *prog);
  bpf_program__expected_attach_type: { parameters: ["pointer"], result: "u32" },
  // int bpf_program__fd(const struct bpf_program *prog);
  bpf_program__fd: { parameters: ["pointer"], result: "i32" },

  // int bpf_map_create(enum bpf_map_type type, const char *name, __u32 key_size, __u32 value_size,
  //                    __u32 max_entries, const struct bpf_map_create_opts *opts);
  bpf_map_create: { parameters: ["u32", "buffer", "u32", "u32", "u32", "buffer"], result: "i32" },
  // int bpf_map_lookup_elem(int fd, const void *key, void *value);
  bpf_map_lookup_elem: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int bpf_map_lookup_and_delete_elem(int fd, const void *key, void *value);
  bpf_map_lookup_and_delete_elem: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags);
  bpf_map_update_elem: { parameters: ["i32", "buffer", "buffer", "u32"], result: "i32" },
  // int bpf_map_delete_elem(int fd, const void *key);
  bpf_map_delete_elem: { parameters: ["i32", "buffer"], result: "i32" },
  // int bpf_map_get_next_key(int fd, const void *key, void *next_key);
  bpf_map_get_next_key: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int bpf_map_lookup_batch(int fd, void *in_batch, void *out_batch, void *keys, void *values,
  //                          __u32 *count, const struct bpf_map_batch_opts *opts);
  bpf_map_lookup_batch: {
    parameters: ["i32", "buffer", "buffer", "buffer", "buffer", "buffer", "buffer"],
    result: "i32",
  },
  // int bpf_map_freeze(int fd);
  bpf_map_freeze: { parameters: ["i32"], result: "i32" },

  // int bpf_prog_load(enum bpf_prog_type type, const char *name, const char *license,
  //                   const struct bpf_insn *insns, size_t insn_cnt,
  //                   struct bpf_prog_load_opts *opts);
  bpf_prog_load: {
    parameters: ["u32", "buffer", "buffer", "buffer", "usize", "buffer"],
    result: "i32",
  },
  // int bpf_prog_test_run_opts(int prog_fd, struct bpf_test_run_opts *opts);
  bpf_prog_test_run_opts: { parameters: ["i32", "buffer"], result: "i32" },
  // int bpf_prog_get_fd_by_id(__u32 id);
  bpf_prog_get_fd_by_id: { parameters: ["u32"], result: "i32" },
  // int bpf_map_get_fd_by_id(__u32 id);
  bpf_map_get_fd_by_id: { parameters: ["u32"], result: "i32" },
  // int bpf_obj_get_info_by_fd(int fd, void *info, __u32 *info_len);
  bpf_obj_get_info_by_fd: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int bpf_obj_pin(int fd, const char *path);
  bpf_obj_pin: { parameters: ["i32", "buffer"], result: "i32" },
  // int bpf_obj_get(const char *path);
  bpf_obj_get: { parameters: ["buffer"], result: "i32" },

  // int bpf_prog_query_opts(int target, enum bpf_attach_type type, struct bpf_prog_query_opts *o);
  bpf_prog_query_opts: { parameters: ["i32", "u32", "buffer"], result: "i32" },
  // int bpf_link_create(int prog_fd, int target_fd, enum bpf_attach_type attach_type,
  //                     const struct bpf_link_create_opts *opts);
  bpf_link_create: { parameters: ["i32", "i32", "u32", "buffer"], result: "i32" },
  // int bpf_link_update(int link_fd, int new_prog_fd, const struct bpf_link_update_opts *opts);
  bpf_link_update: { parameters: ["i32", "i32", "buffer"], result: "i32" },
  // int bpf_link_detach(int link_fd);
  bpf_link_detach: { parameters: ["i32"], result: "i32" },

  // int bpf_tc_hook_create(struct bpf_tc_hook *hook);
  bpf_tc_hook_create: { parameters: ["buffer"], result: "i32" },
  // int bpf_tc_attach(const struct bpf_tc_hook *hook, struct bpf_tc_opts *opts);
  bpf_tc_attach: { parameters: ["buffer", "buffer"], result: "i32" },
  // int bpf_tc_detach(const struct bpf_tc_hook *hook, const struct bpf_tc_opts *opts);
  bpf_tc_detach: { parameters: ["buffer", "buffer"], result: "i32" },
  // int bpf_tc_query(const struct bpf_tc_hook *hook, struct bpf_tc_opts *opts);
  bpf_tc_query: { parameters: ["buffer", "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The functions of libbpf, which prints nothing: see `log.ts` for what it has to say. */
export function libbpf(): Symbols<typeof LIBBPF> {
  if (symbols === undefined) {
    symbols = openLibrary("libbpf.so.1", LIBBPF);
    symbols.libbpf_set_print(null);
  }
  return symbols;
}

let symbols: Symbols<typeof LIBBPF> | undefined;

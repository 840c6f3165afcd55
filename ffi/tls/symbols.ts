/**
 * What weft calls of OpenSSL's libssl and libcrypto (3.5 or later), as data.
 *
 * Byte counts that the hot path passes are `i32` although OpenSSL's `size_t` functions exist:
 * 64-bit types become BigInts and leave V8's fast calls. `SSL_do_handshake` and whatever else may
 * call back into TypeScript does so synchronously, on the calling thread.
 *
 * @module
 */

import { openLibrary, type Symbols } from "../dlopen.ts";

export const LIBSSL = {
  // int OPENSSL_init_ssl(uint64_t opts, const OPENSSL_INIT_SETTINGS *settings);
  OPENSSL_init_ssl: { parameters: ["u64", "pointer"], result: "i32" },
  // const SSL_METHOD *TLS_client_method(void);
  TLS_client_method: { parameters: [], result: "pointer" },
  // const SSL_METHOD *TLS_server_method(void);
  TLS_server_method: { parameters: [], result: "pointer" },
  // SSL_CTX *SSL_CTX_new(const SSL_METHOD *method);
  SSL_CTX_new: { parameters: ["pointer"], result: "pointer" },
  // void SSL_CTX_free(SSL_CTX *ctx);
  SSL_CTX_free: { parameters: ["pointer"], result: "void" },
  // long SSL_ctrl(SSL *ssl, int cmd, long larg, void *parg);
  SSL_ctrl: { parameters: ["pointer", "i32", "i64", "buffer"], result: "i64" },
  // long SSL_CTX_ctrl(SSL_CTX *ctx, int cmd, long larg, void *parg);
  SSL_CTX_ctrl: { parameters: ["pointer", "i32", "i64", "buffer"], result: "i64" },
  SSL_CTX_ctrl_pointer: {
    name: "SSL_CTX_ctrl",
    parameters: ["pointer", "i32", "i64", "pointer"],
    result: "i64",
  },
  // uint64_t SSL_CTX_set_options(SSL_CTX *ctx, uint64_t options);
  SSL_CTX_set_options: { parameters: ["pointer", "u64"], result: "u64" },
  // int SSL_CTX_use_certificate(SSL_CTX *ctx, X509 *x);
  SSL_CTX_use_certificate: { parameters: ["pointer", "pointer"], result: "i32" },
  // int SSL_CTX_use_PrivateKey(SSL_CTX *ctx, EVP_PKEY *pkey);
  SSL_CTX_use_PrivateKey: { parameters: ["pointer", "pointer"], result: "i32" },
  // int SSL_CTX_check_private_key(const SSL_CTX *ctx);
  SSL_CTX_check_private_key: { parameters: ["pointer"], result: "i32" },
  // void SSL_CTX_set1_cert_store(SSL_CTX *ctx, X509_STORE *store);
  SSL_CTX_set1_cert_store: { parameters: ["pointer", "pointer"], result: "void" },
  // void SSL_CTX_set_verify(SSL_CTX *ctx, int mode, SSL_verify_cb callback);
  SSL_CTX_set_verify: { parameters: ["pointer", "i32", "pointer"], result: "void" },
  // void SSL_CTX_set_verify_depth(SSL_CTX *ctx, int depth);
  SSL_CTX_set_verify_depth: { parameters: ["pointer", "i32"], result: "void" },
  // void SSL_CTX_set_cert_verify_callback(SSL_CTX *ctx, int (*callback)(X509_STORE_CTX *, void
  // *), void *arg);
  SSL_CTX_set_cert_verify_callback: {
    parameters: ["pointer", "function", "pointer"],
    result: "void",
  },
  // int SSL_CTX_set_alpn_protos(SSL_CTX *ctx, const unsigned char *protos, unsigned protos_len);
  // 0 on success
  SSL_CTX_set_alpn_protos: { parameters: ["pointer", "buffer", "u32"], result: "i32" },
  // void SSL_CTX_set_alpn_select_cb(SSL_CTX *ctx, int (*cb)(SSL *, const unsigned char **out,
  //   unsigned char *outlen, const unsigned char *in, unsigned int inlen, void *arg), void *arg);
  SSL_CTX_set_alpn_select_cb: { parameters: ["pointer", "function", "pointer"], result: "void" },
  // void SSL_CTX_set_keylog_callback(SSL_CTX *ctx, void (*cb)(const SSL *ssl, const char *line));
  SSL_CTX_set_keylog_callback: { parameters: ["pointer", "function"], result: "void" },
  // int SSL_CTX_set_num_tickets(SSL_CTX *ctx, size_t num_tickets);
  SSL_CTX_set_num_tickets: { parameters: ["pointer", "usize"], result: "i32" },
  // int SSL_CTX_set_session_id_context(SSL_CTX *ctx, const unsigned char *sid_ctx, unsigned int
  // len);
  SSL_CTX_set_session_id_context: { parameters: ["pointer", "buffer", "u32"], result: "i32" },
  // long SSL_CTX_set_timeout(SSL_CTX *ctx, long t);
  SSL_CTX_set_timeout: { parameters: ["pointer", "i64"], result: "i64" },
  // SSL *SSL_new(SSL_CTX *ctx);
  SSL_new: { parameters: ["pointer"], result: "pointer" },
  // void SSL_free(SSL *ssl);
  SSL_free: { parameters: ["pointer"], result: "void" },
  // void SSL_set_bio(SSL *ssl, BIO *rbio, BIO *wbio);
  SSL_set_bio: { parameters: ["pointer", "pointer", "pointer"], result: "void" },
  // void SSL_set_connect_state(SSL *ssl);
  SSL_set_connect_state: { parameters: ["pointer"], result: "void" },
  // void SSL_set_accept_state(SSL *ssl);
  SSL_set_accept_state: { parameters: ["pointer"], result: "void" },
  // int SSL_do_handshake(SSL *ssl);
  SSL_do_handshake: { parameters: ["pointer"], result: "i32" },
  // int SSL_get_error(const SSL *ssl, int ret);
  SSL_get_error: { parameters: ["pointer", "i32"], result: "i32" },
  // int SSL_read(SSL *ssl, void *buf, int num);
  SSL_read: { parameters: ["pointer", "buffer", "i32"], result: "i32" },
  // int SSL_write(SSL *ssl, const void *buf, int num);
  SSL_write: { parameters: ["pointer", "buffer", "i32"], result: "i32" },
  // int SSL_shutdown(SSL *ssl);
  SSL_shutdown: { parameters: ["pointer"], result: "i32" },
  // OSSL_HANDSHAKE_STATE SSL_get_state(const SSL *ssl);
  SSL_get_state: { parameters: ["pointer"], result: "i32" },
  // void SSL_get0_alpn_selected(const SSL *ssl, const unsigned char **data, unsigned int *len);
  SSL_get0_alpn_selected: { parameters: ["pointer", "buffer", "buffer"], result: "void" },
  // int SSL_session_reused(const SSL *ssl);
  SSL_session_reused: { parameters: ["pointer"], result: "i32" },
  // SSL_SESSION *SSL_get1_session(SSL *ssl);
  SSL_get1_session: { parameters: ["pointer"], result: "pointer" },
  // int SSL_set_session(SSL *ssl, SSL_SESSION *session);
  SSL_set_session: { parameters: ["pointer", "pointer"], result: "i32" },
  // int SSL_SESSION_is_resumable(const SSL_SESSION *s);
  SSL_SESSION_is_resumable: { parameters: ["pointer"], result: "i32" },
  // void SSL_SESSION_free(SSL_SESSION *session);
  SSL_SESSION_free: { parameters: ["pointer"], result: "void" },
  // X509 *SSL_get0_peer_certificate(const SSL *ssl);
  SSL_get0_peer_certificate: { parameters: ["pointer"], result: "pointer" },
  // STACK_OF(X509) *SSL_get_peer_cert_chain(const SSL *ssl); on a server without the leaf
  SSL_get_peer_cert_chain: { parameters: ["pointer"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

export const LIBCRYPTO = {
  // int BIO_new_bio_pair(BIO **bio1, size_t writebuf1, BIO **bio2, size_t writebuf2);
  BIO_new_bio_pair: { parameters: ["buffer", "usize", "buffer", "usize"], result: "i32" },
  // int BIO_up_ref(BIO *a);
  BIO_up_ref: { parameters: ["pointer"], result: "i32" },
  // int BIO_free(BIO *a);
  BIO_free: { parameters: ["pointer"], result: "i32" },
  // int BIO_read(BIO *b, void *data, int dlen);
  BIO_read: { parameters: ["pointer", "buffer", "i32"], result: "i32" },
  // int BIO_write(BIO *b, const void *data, int dlen);
  BIO_write: { parameters: ["pointer", "buffer", "i32"], result: "i32" },
  // int BIO_nread0(BIO *bio, char **buf);
  BIO_nread0: { parameters: ["pointer", "buffer"], result: "i32" },
  // int BIO_nread(BIO *bio, char **buf, int num);
  BIO_nread: { parameters: ["pointer", "buffer", "i32"], result: "i32" },
  // int BIO_nwrite0(BIO *bio, char **buf);
  BIO_nwrite0: { parameters: ["pointer", "buffer"], result: "i32" },
  // int BIO_nwrite(BIO *bio, char **buf, int num);
  BIO_nwrite: { parameters: ["pointer", "buffer", "i32"], result: "i32" },
  // int BIO_ctrl(...) is long; pending counts fit 32 bits: size_t BIO_ctrl_wpending(BIO *b);
  BIO_ctrl_wpending: { parameters: ["pointer"], result: "u32" },
  // BIO *BIO_new_mem_buf(const void *buf, int len);
  BIO_new_mem_buf: { parameters: ["buffer", "i32"], result: "pointer" },
  // X509 *PEM_read_bio_X509(BIO *bp, X509 **x, pem_password_cb *cb, void *u);
  PEM_read_bio_X509: {
    parameters: ["pointer", "pointer", "pointer", "pointer"],
    result: "pointer",
  },
  // EVP_PKEY *PEM_read_bio_PrivateKey(BIO *bp, EVP_PKEY **x, pem_password_cb *cb, void *u);
  PEM_read_bio_PrivateKey: {
    parameters: ["pointer", "pointer", "pointer", "pointer"],
    result: "pointer",
  },
  // int EVP_PKEY_set_type(EVP_PKEY *key, int type);
  EVP_PKEY_set_type: { parameters: ["pointer", "i32"], result: "i32" },
  // void EVP_PKEY_free(EVP_PKEY *key);
  EVP_PKEY_free: { parameters: ["pointer"], result: "void" },
  // void X509_free(X509 *a);
  X509_free: { parameters: ["pointer"], result: "void" },
  // int i2d_X509(const X509 *x, unsigned char **out);
  i2d_X509: { parameters: ["pointer", "buffer"], result: "i32" },
  // X509_STORE *X509_STORE_new(void);
  X509_STORE_new: { parameters: [], result: "pointer" },
  // int X509_STORE_add_cert(X509_STORE *store, X509 *x);
  X509_STORE_add_cert: { parameters: ["pointer", "pointer"], result: "i32" },
  // void X509_STORE_free(X509_STORE *store);
  X509_STORE_free: { parameters: ["pointer"], result: "void" },
  // X509_STORE_CTX *X509_STORE_CTX_new(void);
  X509_STORE_CTX_new: { parameters: [], result: "pointer" },
  // int X509_STORE_CTX_init(X509_STORE_CTX *ctx, X509_STORE *store, X509 *target, STACK_OF(X509)
  // *untrusted);
  X509_STORE_CTX_init: {
    parameters: ["pointer", "pointer", "pointer", "pointer"],
    result: "i32",
  },
  // void X509_STORE_CTX_set_flags(X509_STORE_CTX *ctx, unsigned long flags);
  X509_STORE_CTX_set_flags: { parameters: ["pointer", "u64"], result: "void" },
  // void X509_STORE_CTX_free(X509_STORE_CTX *ctx);
  X509_STORE_CTX_free: { parameters: ["pointer"], result: "void" },
  // int X509_verify_cert(X509_STORE_CTX *ctx);
  X509_verify_cert: { parameters: ["pointer"], result: "i32" },
  // int X509_STORE_CTX_get_error(const X509_STORE_CTX *ctx);
  X509_STORE_CTX_get_error: { parameters: ["pointer"], result: "i32" },
  // void X509_STORE_CTX_set_error(X509_STORE_CTX *ctx, int s);
  X509_STORE_CTX_set_error: { parameters: ["pointer", "i32"], result: "void" },
  // X509 *X509_STORE_CTX_get0_cert(const X509_STORE_CTX *ctx);
  X509_STORE_CTX_get0_cert: { parameters: ["pointer"], result: "pointer" },
  // STACK_OF(X509) *X509_STORE_CTX_get0_chain(const X509_STORE_CTX *ctx);
  X509_STORE_CTX_get0_chain: { parameters: ["pointer"], result: "pointer" },
  // int OPENSSL_sk_num(const OPENSSL_STACK *st);
  OPENSSL_sk_num: { parameters: ["pointer"], result: "i32" },
  // void *OPENSSL_sk_value(const OPENSSL_STACK *st, int i);
  OPENSSL_sk_value: { parameters: ["pointer", "i32"], result: "pointer" },
  // const char *X509_verify_cert_error_string(long n);
  X509_verify_cert_error_string: { parameters: ["i64"], result: "pointer" },
  // unsigned long ERR_get_error(void);
  ERR_get_error: { parameters: [], result: "u64" },
  // const char *ERR_reason_error_string(unsigned long e);
  ERR_reason_error_string: { parameters: ["u64"], result: "pointer" },
  // const char *OpenSSL_version(int type);
  OpenSSL_version: { parameters: ["i32"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The symbols of libssl. */
export function libssl(): Symbols<typeof LIBSSL> {
  const ssl = openLibrary("libssl.so.3", LIBSSL);
  if (!isReady) {
    isReady = true;
    // Before anything else is called, or OpenSSL reads the machine's openssl.cnf: what TLS means
    // here is nobody else's to say, and a broken file is not ours to stumble over.
    ssl.OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, null);
  }
  return ssl;
}

/** The symbols of libcrypto. */
export function libcrypto(): Symbols<typeof LIBCRYPTO> {
  if (!isReady) libssl();
  return openLibrary("libcrypto.so.3", LIBCRYPTO);
}

let isReady = false;
const OPENSSL_INIT_NO_LOAD_CONFIG = 0x80n;

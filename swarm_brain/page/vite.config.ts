import { defineConfig } from "vite";

// Relative addresses, so that the page also works below a path; names without hashes would be cached
// stale, names with them make the committed build say by itself what changed.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../server/static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    assetsInlineLimit: 0,
    license: { fileName: "LICENSES.md" },
  },
  server: { proxy: { "/brain": process.env.BRAIN_URL ?? "http://127.0.0.1:8000" } },
});

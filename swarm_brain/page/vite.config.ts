import { defineConfig } from "vite";

// The server has the page at / and these files at /page/. Addresses are relative, so that it also
// works below a path; names have hashes, so that nothing is cached stale.
export default defineConfig({
  base: "./",
  experimental: {
    renderBuiltUrl: (name, { hostType }) => (hostType === "html" ? `page/${name}` : { relative: true }),
  },
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

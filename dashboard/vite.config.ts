import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  // Preact's own JSX, without a plugin: one dependency less that could change under us.
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../src/account_monitor/api/dashboard",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // the page's policy allows no data: URLs in scripts and styles
  },
});

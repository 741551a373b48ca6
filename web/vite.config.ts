import { readFileSync } from 'node:fs';
import { defineConfig, type Plugin } from 'vite';

/** The packages whose code or fonts are part of the page; their licences travel with it. */
const SHIPPED = [
  'preact', '@preact/signals', '@preact/signals-core', 'd3-array', 'd3-color', 'd3-format', 'd3-interpolate', 'd3-path', 'd3-scale',
  'd3-scale-chromatic', 'd3-shape', 'internmap', '@fontsource-variable/inter', '@fontsource/source-serif-4',
];

/** Writes `licences.txt` beside the page. */
function licences(): Plugin {
  return {
    name: 'licences',
    generateBundle() {
      const texts = SHIPPED.map((name) => `== ${name}\n\n${readFileSync(`node_modules/${name}/LICENSE`, 'utf8').replaceAll('\r\n', '\n').trim()}\n`);
      this.emitFile({ type: 'asset', fileName: 'licences.txt', source: texts.join('\n\n') });
    },
  };
}

export default defineConfig({
  base: './',
  plugins: [licences()],
  // The page's own Host goes through: the server refuses requests of other origins.
  server: { proxy: { '/api': { target: 'http://127.0.0.1:7878', changeOrigin: false } } },
  build: {
    outDir: '../crates/heedful-explorer/dist',
    emptyOutDir: true,
    target: 'es2022',
    // One script, one style sheet, fonts as files: the saved page puts the same files into one.
    modulePreload: false,
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    rollupOptions: {
      output: {
        entryFileNames: 'assets/explorer-[hash].js',
        assetFileNames: 'assets/[name]-[hash][extname]',
        codeSplitting: false,
      },
    },
  },
});

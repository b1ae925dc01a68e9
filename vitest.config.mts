import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    environment: 'jsdom',
    include: ['labextension/src/**/*.{test,spec}.{ts,tsx}'],
    setupFiles: ['labextension/vitest.setup.ts'],
    restoreMocks: true,
    server: {
      // Published as ES modules that import style sheets and each other without extensions.
      deps: { inline: [/@jupyterlab\//, /@jupyter\//, /@lumino\//, /@rjsf\//, /@microsoft\//] }
    }
  }
});

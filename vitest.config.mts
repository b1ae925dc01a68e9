import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    environment: 'jsdom',
    include: ['labextension/src/**/*.{test,spec}.{ts,tsx}'],
    setupFiles: ['labextension/vitest.setup.ts'],
    restoreMocks: true,
    // Longer than a wait within a test, so that the wait says what did not come.
    testTimeout: 90_000,
    // One is left out by default, which of two is half.
    maxWorkers: '100%',
    server: {
      // Published as ES modules that import style sheets and each other without extensions.
      deps: { inline: [/@jupyterlab\//, /@jupyter\//, /@lumino\//, /@rjsf\//, /@microsoft\//] }
    }
  }
});

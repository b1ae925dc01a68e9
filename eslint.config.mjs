import js from '@eslint/js';
import jupyter from '@jupyter/eslint-plugin';
import globals from 'globals';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  {
    ignores: [
      'lib/**',
      'build/**',
      'labextension/src/api/schema.ts',
      'jupyter_aiinfra/**',
      'node_modules/**',
      '.venv/**'
    ]
  },
  js.configs.recommended,
  {
    files: ['**/*.ts', '**/*.tsx', '**/*.mts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: {
      parserOptions: { project: './tsconfig.test.json', tsconfigRootDir: import.meta.dirname }
    },
    rules: {
      '@typescript-eslint/explicit-function-return-type': ['error', { allowExpressions: true }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }]
    }
  },
  {
    files: ['labextension/src/**/*.ts', 'labextension/src/**/*.tsx'],
    ignores: ['**/__tests__/**', '**/*.test.ts', '**/*.spec.ts'],
    plugins: { jupyter },
    // Its rules alone: the plugin's own configuration brings another parser.
    rules: jupyter.configs.recommended[0].rules
  },
  {
    files: ['labextension/**'],
    languageOptions: { globals: globals.browser }
  },
  {
    rules: {
      curly: 'error',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-console': 'error',
      'prefer-arrow-callback': 'error'
    }
  }
);

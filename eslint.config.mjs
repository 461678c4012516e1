// Lint for the whole repository: type-aware over .ts, .vue and the checked .mjs scripts. Rules that stand for a principle of the
// house (arrows, determinism, one door to the outside) carry a message that says why.
import { defineConfigWithVueTs, vueTsConfigs } from '@vue/eslint-config-typescript';
import vue from 'eslint-plugin-vue';
import accessibility from 'eslint-plugin-vuejs-accessibility';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';
import { house } from './scripts/lint/house.mjs';
import { importDirection } from './scripts/lint/importDirection.mjs';

const root = import.meta.dirname;

const noDefaultExport = {
  selector: 'ExportDefaultDeclaration',
  message: 'Export by name: then a thing is called the same wherever it is used.',
};

const noOpenExternal = {
  selector: "MemberExpression[property.name='openExternal']",
  message: 'Links leave the app through openExternalSafely alone, which knows the hosts that are allowed.',
};

const noRawHtml = {
  selector:
    "MemberExpression[property.name=/^(innerHTML|outerHTML)$/], CallExpression[callee.property.name='insertAdjacentHTML']",
  message: 'Labs come from strangers: text is shown as text.',
};

const deterministic = 'A run depends on its document and its seed alone, or two machines would disagree. ';
const noClock = [
  {
    selector:
      "NewExpression[callee.name='Date'][arguments.length=0], CallExpression[callee.name='Date'], MemberExpression[object.name='Date'][property.name='now']",
    message: `${deterministic}Use the EventQueue's virtual time.`,
  },
  {
    selector:
      "MemberExpression[object.name='performance'], MemberExpression[object.name='process'][property.name='hrtime']",
    message: `${deterministic}Use the EventQueue's virtual time.`,
  },
  {
    selector:
      "MemberExpression[object.name='Math'][property.name='random'], MemberExpression[property.name=/^(randomUUID|randomBytes|getRandomValues)$/]",
    message: `${deterministic}Take a RandomStream.`,
  },
];

const domGlobals = [
  'window',
  'document',
  'navigator',
  'location',
  'history',
  'localStorage',
  'sessionStorage',
  'indexedDB',
  'fetch',
  'XMLHttpRequest',
  'WebSocket',
  'requestAnimationFrame',
  'HTMLElement',
  'Element',
  'Worker',
  'self',
].map((name) => ({
  name,
  message: 'The engine runs in Node, in worker threads and on the command line: it has no page.',
}));

const withVue = defineConfigWithVueTs(
  { ignores: ['out/', 'coverage/', 'test-results/', 'playwright-report/', 'node_modules/'] },
  // Nobody switches a rule off in passing; what has to give way gives way here, with a reason.
  { linterOptions: { noInlineConfig: true } },

  ...vue.configs['flat/recommended'],
  ...accessibility.configs['flat/recommended'],
  vueTsConfigs.strictTypeChecked,
  vueTsConfigs.stylisticTypeChecked,

  {
    plugins: { lab: { rules: { 'import-direction': importDirection } } },
    rules: {
      'lab/import-direction': ['error', { root, rooms: house }],
      'no-restricted-syntax': ['error', noDefaultExport, noOpenExternal, noRawHtml],
      eqeqeq: 'error',
      'no-console': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      // Numbers read well in messages, and have no surprising text form.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // Handing on what a callback gives back is plain where the function itself is declared to give nothing.
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: 'only-allowed-literals' },
      ],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    },
  },
  {
    files: ['**/*.vue'],
    rules: {
      'no-restricted-syntax': ['error', noOpenExternal, noRawHtml],
      'vue/no-v-html': 'error',
      'vue/block-lang': ['error', { script: { lang: 'ts' } }],
      'vue/component-api-style': ['error', ['script-setup']],
      'vue/define-props-declaration': ['error', 'type-based'],
      'vue/define-emits-declaration': ['error', 'type-based'],
      // Layout belongs to Prettier.
      'vue/html-indent': 'off',
      'vue/html-self-closing': 'off',
      'vue/html-closing-bracket-newline': 'off',
      'vue/max-attributes-per-line': 'off',
      'vue/singleline-html-element-content-newline': 'off',
      'vue/multiline-html-element-content-newline': 'off',
      'vue/first-attribute-linebreak': 'off',
      // Nesting inside a label or an id on the control: either names the control.
      'vuejs-accessibility/label-has-for': ['error', { required: { some: ['nesting', 'id'] } }],
    },
  },
  {
    files: ['engine/**/*.ts'],
    rules: {
      'no-restricted-globals': ['error', ...domGlobals],
      'no-restricted-syntax': ['error', noDefaultExport, noRawHtml, ...noClock],
      // Indexing a typed array inside bounds that the code has just checked is the commonest expression of the hot paths.
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
  {
    // The bench measures, and progress speaks of seconds; results still come from the engine alone.
    files: ['engine/cli/**/*.ts'],
    rules: { 'no-restricted-syntax': ['error', noDefaultExport] },
  },
  {
    files: ['electron/main/openExternalSafely.ts'],
    rules: { 'no-restricted-syntax': ['error', noDefaultExport, noRawHtml] },
  },
  {
    files: ['**/*.test.ts', 'e2e/**/*.ts'],
    rules: { '@typescript-eslint/no-non-null-assertion': 'off' },
  },
  {
    // Tools ask for a default export, and scripts speak to a person at a terminal.
    files: ['*.config.{ts,mjs}', '*.mjs', '*.ts'],
    rules: { 'no-restricted-syntax': ['error', noOpenExternal] },
  },
  { files: ['scripts/**/*.mjs'], rules: { 'no-console': 'off' } },
);

// The Vue preset takes the types from plain JavaScript again at its end. Ours are typed by JSDoc and held to the same rules.
const checkedScripts = {
  files: ['**/*.mjs'],
  extends: [tseslint.configs.strictTypeCheckedOnly, tseslint.configs.stylisticTypeCheckedOnly],
  languageOptions: { parser: tseslint.parser, parserOptions: { projectService: true, tsconfigRootDir: root } },
  rules: {
    '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
    // These do not see a JSDoc cast, which is the only cast that JavaScript has; the compiler does.
    '@typescript-eslint/no-unsafe-argument': 'off',
    '@typescript-eslint/no-unsafe-assignment': 'off',
    '@typescript-eslint/no-unsafe-member-access': 'off',
    '@typescript-eslint/no-unsafe-return': 'off',
  },
};

// @ts-expect-error typescript-eslint and ESLint write the same type of a configuration differently
export default defineConfig(withVue, checkedScripts);

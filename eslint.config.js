import js from "@eslint/js";
import globals from "globals";

const NO_HTML_FROM_TEXT = ["innerHTML", "outerHTML", "insertAdjacentHTML", "srcdoc"].map(
  (property) => ({ property, message: "Use textContent: text is never parsed as HTML." }),
);

// The folders of the page's scripts, lowest first. A folder imports only itself and lower ones, and
// `io` and `words` do not import each other.
const MAY_NOT_IMPORT = {
  core: ["io", "words", "ui"],
  io: ["words", "ui"],
  words: ["io", "ui"],
};

const layers = Object.entries(MAY_NOT_IMPORT).map(([folder, others]) => ({
  files: [`static/js/${folder}/**/*.js`],
  rules: {
    "no-restricted-imports": [
      "error",
      {
        patterns: [
          {
            regex: `(^|/)(${others.join("|")})/|(^|/)main\\.js$`,
            message: `${folder}/ does not import ${others.join(", ")} or main.js.`,
          },
        ],
      },
    ],
  },
}));

// The folders that run without a document, as in the tests.
const PURE = ["core", "words"];
const BROWSER_ONLY = ["document", "localStorage", "location", "navigator", "window"];

const pure = {
  files: PURE.map((folder) => `static/js/${folder}/**/*.js`),
  rules: { "no-restricted-globals": ["error", ...BROWSER_ONLY] },
};

export default [
  { ignores: ["node_modules/", ".venv/", "runs/"] },
  js.configs.recommended,
  {
    files: ["static/**/*.js", "tests/**/*.js"],
    languageOptions: { globals: { ...globals.browser, ...globals.worker } },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "consistent-return": "error",
      eqeqeq: "error",
      "no-console": "error",
      "no-eval": "error",
      "no-implicit-globals": "error",
      "no-implied-eval": "error",
      "no-restricted-properties": ["error", ...NO_HTML_FROM_TEXT],
      "no-shadow": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
    },
  },
  {
    files: ["tests/clients/programs/*.mjs"],
    languageOptions: { globals: globals.node },
  },
  ...layers,
  pure,
];

import js from "@eslint/js";
import globals from "globals";

const NO_HTML_FROM_TEXT = ["innerHTML", "outerHTML", "insertAdjacentHTML", "srcdoc"].map(
  (property) => ({ property, message: "Text goes in with textContent only." }),
);

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
];

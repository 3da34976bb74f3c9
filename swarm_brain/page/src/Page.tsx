// The page as a whole.

import { signal } from "@preact/signals";
import { keyGiven } from "./brain/api";
import { geometry, locked, me, news, open, problem, selected, threads, view } from "./brain/store";
import { dollars } from "./figures";
import { Answer } from "./panes/Answer";
import { Composer } from "./panes/Composer";
import { Gauges } from "./panes/Gauges";
import { Key } from "./panes/Key";
import { Recalled, Workspace } from "./panes/Minds";
import { Steps } from "./panes/Steps";
import { drawer, Threads } from "./panes/Threads";
import { Trace } from "./panes/Trace";
import { Legend } from "./picture/Legend";
import { Picture } from "./picture/Picture";

type Theme = "light" | "dark";
const KEPT = "swarm-brain-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");
const theme = signal<Theme>(
  (localStorage.getItem(KEPT) as Theme | null) ?? (dark.matches ? "dark" : "light"),
);
document.documentElement.dataset["theme"] = theme.value;
dark.addEventListener("change", () => localStorage.getItem(KEPT) ?? turn(dark.matches ? "dark" : "light"));

// Whatever has the focus; but what is being typed must not vanish.
addEventListener("keydown", ({ key, target }) => {
  const typing = target instanceof HTMLElement && target.matches("input, textarea, select");
  if (key === "Escape" && !typing && !drawer.value) selected.value = null;
});

function turn(to: Theme): void {
  theme.value = document.documentElement.dataset["theme"] = to;
}

export function Page() {
  return (
    <>
      <a class="skip" href="#answer-head">
        Skip to the answer
      </a>
      <Bar />
      {locked.value !== null ? (
        <main>
          <Key />
        </main>
      ) : (
        <Brain />
      )}
      <Threads />
      <p class="unseen" role="status" aria-live="polite">
        {news.value}
      </p>
    </>
  );
}

function Bar() {
  const spent = me.value?.spent_today?.usd;
  return (
    <header class="bar">
      <h1>Swarm Brain</h1>
      <span class="apart" />
      {me.value && (
        <span class="aside owner">
          {me.value.name ?? "local"}
          {spent != null && spent > 0 && `, ${dollars(spent)} today`}
        </span>
      )}
      {me.value?.keys && (
        <button type="button" class="quiet" onClick={() => (keyGiven(null), (locked.value = ""))}>
          Forget key
        </button>
      )}
      <button
        type="button"
        class="quiet"
        onClick={() => {
          const to = theme.value === "dark" ? "light" : "dark";
          localStorage.setItem(KEPT, to);
          turn(to);
        }}
      >
        {theme.value === "dark" ? "Light" : "Dark"}
        <span class="word"> theme</span>
      </button>
      <button type="button" class="quiet" aria-haspopup="dialog" onClick={() => (drawer.value = true)}>
        Threads{threads.value ? ` (${threads.value.length})` : ""}
      </button>
    </header>
  );
}

function Brain() {
  const idle = view.value.phase === "idle";
  return (
    <main>
      <Composer />
      {problem.value && (
        <div class="problem" role="alert">
          <p>
            <strong>{problem.value.message}</strong> {problem.value.hint}
          </p>
          <button type="button" class="quiet" onClick={() => (problem.value = null)}>
            Dismiss
          </button>
          {!geometry.value && (
            <button type="button" onClick={() => ((problem.value = null), void open())}>
              Try again
            </button>
          )}
        </div>
      )}
      <section class="run" aria-label="The run">
        {!idle && <Gauges />}
        <Picture />
        <Legend />
        <Steps />
      </section>
      <div class="panes">
        <Answer />
        {(!idle || selected.value) && <Trace />}
        {!idle && <Workspace />}
        {!idle && <Recalled />}
      </div>
    </main>
  );
}

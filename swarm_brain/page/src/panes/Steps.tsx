// The step that is looked at: a slider over the run.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { at, events, look, runs, running, shown } from "../brain/store";
import { stepsOf } from "../brain/view";

export function Steps() {
  const last = stepsOf(events.value);
  const playing = useSignal(false);
  const place = at.value ?? last + 1;
  const go = (to: number) => (at.value = to > last ? null : Math.max(0, to));
  useEffect(() => {
    if (!playing.value) return undefined;
    if (at.value === null) playing.value = false;
    const timer = setTimeout(() => go(place + 1), 1100);
    return () => clearTimeout(timer);
  }, [playing.value, place]);
  if (last === 0) return null;
  const name = (n: number) =>
    n === 0 ? "begin" : n > last ? (running.value ? "now" : "answer") : `step ${n}`;
  return (
    <div class="steps">
      <button
        type="button"
        class="quiet play"
        onClick={() => {
          if (!playing.value) at.value = 0;
          playing.value = !playing.value;
        }}
      >
        {playing.value ? "Stop" : "Replay"}
      </button>
      <div class="slider">
        <input
          type="range"
          min={0}
          max={last + 1}
          step={1}
          value={place}
          aria-label="Step"
          aria-valuetext={name(place)}
          onInput={(event) => {
            playing.value = false;
            go(Number(event.currentTarget.value));
          }}
        />
        <ol aria-hidden="true">
          {Array.from({ length: last + 2 }, (_, n) => (
            <li class={n === place ? "here" : ""}>
              {n > 0 && n <= last && <span class="word">step </span>}
              {n > 0 && n <= last ? n : name(n)}
            </li>
          ))}
        </ol>
      </div>
      <Runs />
    </div>
  );
}

/** Which run of the thread is looked at, if it has several. */
function Runs() {
  if (runs.value.length < 2 || running.value) return null;
  const here = shown.value ?? runs.value.length - 1;
  return (
    <label class="runs">
      Run{" "}
      <select
        aria-label="Run of this thread"
        value={here}
        onChange={(event) => look(event.currentTarget.selectedIndex)}
      >
        {runs.value.map((run, n) => (
          <option value={n}>
            {n + 1} of {runs.value.length}: {run.question.slice(0, 40)}
          </option>
        ))}
      </select>
    </label>
  );
}

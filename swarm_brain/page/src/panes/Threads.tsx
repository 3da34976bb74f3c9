// Past threads, in a drawer.

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { remove, show, thread, threads } from "../brain/store";
import type { ThreadLine } from "../brain/routes";
import { dollars, moment } from "../figures";
import { plain } from "../words/markdown";

export const drawer = signal(false);

export function Threads() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (drawer.value) dialog.current?.showModal();
    else dialog.current?.close();
  }, [drawer.value]);
  return (
    <dialog
      ref={dialog}
      class="threads"
      aria-labelledby="threads-head"
      onClose={() => (drawer.value = false)}
      onClick={(event) => event.target === dialog.current && (drawer.value = false)}
    >
      <div class="inside">
        <header>
          <h2 id="threads-head">Threads</h2>
          <button type="button" class="quiet" onClick={() => (drawer.value = false)}>
            Close
          </button>
        </header>
        {threads.value?.length === 0 && <p class="aside">No thread is saved yet. Each question is one.</p>}
        <ul>
          {threads.value?.map((line) => (
            <Line key={line.id} line={line} />
          ))}
        </ul>
      </div>
    </dialog>
  );
}

const sure = signal<string | null>(null);

function Line({ line }: { line: ThreadLine }) {
  const { id, question, date, provenance, cost_usd, unfinished, paused } = line;
  const state = paused ? "paused" : unfinished ? "unfinished" : (provenance ?? "");
  return (
    <li class={id === thread.value ? "here" : ""}>
      <button
        type="button"
        class="pick"
        aria-current={id === thread.value}
        onClick={() => {
          drawer.value = false;
          void show(id);
        }}
      >
        <span class="what" dir="auto">
          {plain(question) || id}
        </span>
        <span class="aside">
          {moment(date)} · <b class={state}>{state}</b>
          {cost_usd !== null && ` · ${dollars(cost_usd)}`}
        </span>
      </button>
      <button
        type="button"
        class={sure.value === id ? "danger" : "quiet"}
        aria-label={`Delete the thread: ${question}`}
        onBlur={() => (sure.value = null)}
        onClick={() => {
          if (sure.value === id) void remove(id);
          sure.value = sure.value === id ? null : id;
        }}
      >
        {sure.value === id ? "Delete for good" : "Delete"}
      </button>
    </li>
  );
}

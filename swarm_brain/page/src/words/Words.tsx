// A model's words. They are untrusted: nothing here can make anything but text of them.

import { useState } from "preact/hooks";
import { whole } from "../figures";
import { blocks, plain, type Block, type Inline } from "./markdown";

const TAIL = 6_000; // characters of a stream that are shown while it runs
const MARKED = 60_000; // up to which Markdown is read
const AT_ONCE = 20_000; // of a long text that is shown before one asks for more

/** Words as they come: the last of them, so that a long stream costs no more than a short one. */
export function Stream({ text, live }: { text: string; live: boolean }) {
  const cut = text.length - TAIL;
  if (cut <= 0)
    return (
      <div class={live ? "words live" : "words"} dir="auto">
        {blocks(plain(text)).map(block)}
      </div>
    );
  return (
    <div class={live ? "words stream live" : "words stream"} dir="auto">
      <p class="aside">{whole(cut)} characters before</p>
      <p>{plain(text.slice(cut))}</p>
    </div>
  );
}

/** Words that are complete. */
export function Words({ text }: { text: string }) {
  const [all, setAll] = useState(false);
  if (text.length <= MARKED)
    return (
      <div class="words" dir="auto">
        {blocks(plain(text)).map(block)}
      </div>
    );
  return (
    <div class="words long" dir="auto">
      {all
        ? slices(text).map((part) => <div class="part">{plain(part)}</div>)
        : plain(text.slice(0, AT_ONCE))}
      {!all && (
        <button type="button" class="quiet" onClick={() => setAll(true)}>
          Show all {whole(text.length)} characters
        </button>
      )}
    </div>
  );
}

function slices(text: string): string[] {
  const count = Math.ceil(text.length / AT_ONCE);
  return Array.from({ length: count }, (_, n) => text.slice(n * AT_ONCE, (n + 1) * AT_ONCE));
}

function block(b: Block) {
  switch (b.kind) {
    case "pre":
      return <pre tabIndex={0}>{b.text}</pre>;
    case "ul":
      return (
        <ul>
          {b.items.map((item) => (
            <li>{item.map(span)}</li>
          ))}
        </ul>
      );
    case "ol":
      return (
        <ol start={b.start}>
          {b.items.map((item) => (
            <li>{item.map(span)}</li>
          ))}
        </ol>
      );
    case "quote":
      return <blockquote>{b.inline.map(span)}</blockquote>;
    case "h":
      return <p class="heading">{b.inline.map(span)}</p>;
    case "p":
      return <p>{b.inline.map(span)}</p>;
  }
}

function span(s: Inline) {
  if (s.kind === "text") return s.text;
  const Tag = s.kind;
  return <Tag>{s.text}</Tag>;
}

// Server-sent events out of a fetch: text/event-stream as WHATWG HTML has it, as far as we send it.

export interface Message {
  name: string;
  data: string;
}

/** Cuts a stream's text into its messages; keeps what is not whole yet. */
export function splitter(): (piece: string) => Message[] {
  let rest = "";
  return (piece) => {
    // A "\r" at the end may be the first half of "\r\n": it waits for the next piece.
    const text = rest + piece;
    const held = text.endsWith("\r") ? 1 : 0;
    const blocks = text
      .slice(0, text.length - held)
      .replace(/\r\n?/g, "\n")
      .split("\n\n");
    rest = (blocks.pop() ?? "") + (held ? "\r" : "");
    return blocks.map(message).filter(({ data }) => data !== "");
  };
}

function message(block: string): Message {
  const lines = block.split("\n");
  const field = (name: string) =>
    lines
      .filter((line) => line.startsWith(`${name}:`))
      .map((line) => line.slice(name.length + 1).replace(/^ /, ""));
  return { name: field("event").at(-1) ?? "message", data: field("data").join("\n") };
}

/** The events of a response's body, parsed, as they come. */
export async function* eventsOf<T>(body: ReadableStream<Uint8Array>): AsyncGenerator<T[]> {
  const split = splitter();
  const reader = body.pipeThrough(new TextDecoderStream() as TransformStream).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const batch = split(value as string).map(
        ({ name, data }) => ({ ...JSON.parse(data), event: name }) as T,
      );
      if (batch.length) yield batch;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

import { describe, expect, test } from "vitest";
import { fields, readField } from "../src/brain/schema";
import { eventsOf } from "../src/brain/stream";
import { neighbour, upright } from "../src/picture/drawn";
import { blocks, inline, plain } from "../src/words/markdown";

describe("server-sent events", () => {
  const text = 'event: token\r\ndata: {"a":1}\r\n\r\n: keep-alive\n\nevent: x\ndata: [1,\ndata: 2]\n\n';

  test("are the same however the stream is cut", async () => {
    for (let at = 0; at <= text.length; at++) {
      const body = new ReadableStream<Uint8Array>({
        start(stream) {
          for (const piece of [text.slice(0, at), text.slice(at)])
            stream.enqueue(new TextEncoder().encode(piece));
          stream.close();
        },
      });
      const events = [];
      for await (const event of eventsOf(body)) events.push(event);
      expect(events).toEqual([{ a: 1 }, [1, 2]]);
    }
  });
});

describe("settings", () => {
  const [threshold, seed, effort, table] = fields({
    properties: {
      threshold: { type: "number", minimum: 0, maximum: 1, default: 0.5 },
      seed: { anyOf: [{ type: "integer", minimum: 0 }, { type: "null" }], default: null },
      effort: { enum: ["auto", "low"], default: "auto" },
      models: { type: "object", default: {} },
    },
  }) as [never, never, never, never];

  test("are read within their bounds", () => {
    expect(readField(threshold, "0.7")).toEqual({ value: 0.7 });
    expect(readField(threshold, "7")).toEqual({ wrong: "0 to 1." });
    expect(readField(seed, "1.5")).toHaveProperty("wrong");
    expect(readField(seed, " ")).toEqual({ value: undefined });
    expect(effort).toMatchObject({ kind: "choice", choices: ["auto", "low"], fallback: "auto" });
    expect(readField(table, "a = b\nc=d")).toEqual({ value: { a: "b", c: "d" } });
    expect(readField(table, "nonsense")).toHaveProperty("wrong");
  });
});

describe("a model's words", () => {
  test("Markdown that is not known stays text", () => {
    const hostile = "<img src=x onerror=alert(1)> [x](javascript:alert(1))";
    expect(blocks(hostile)).toEqual([{ kind: "p", inline: [{ kind: "text", text: hostile }] }]);
    expect(inline("a **b** `c` *d*").map((i) => i.kind)).toEqual([
      "text",
      "strong",
      "text",
      "code",
      "text",
      "em",
    ]);
    expect(blocks("1. a\n2. b\n\n```\n# c\n```\n# d").map((b) => b.kind)).toEqual(["ol", "pre", "h"]);
    expect(blocks("```\nnever closed")).toEqual([{ kind: "pre", text: "never closed" }]);
  });

  test("what would hide or reorder text is shown by its number", () => {
    expect(plain("a\u202eb\u200bc\u0000")).toBe("a⟨U+202E⟩b⟨U+200B⟩c⟨U+0000⟩");
    expect(plain("שלום 👩‍👩‍👧")).toBe("שלום 👩‍👩‍👧");
  });

  test.each(["*".repeat(30_000), "`".repeat(30_001), "**a".repeat(10_000), "```\nx\n".repeat(5_000)])(
    "are read in no time, however odd (%#)",
    (odd) => {
      const start = performance.now();
      blocks(odd);
      expect(performance.now() - start).toBeLessThan(250);
    },
  );
});

describe("the picture", () => {
  const box = (name: string, level: number, y: number) => ({
    name,
    kind: "proposer",
    gated: false,
    level,
    x: level * 200,
    y,
    w: 132,
    h: 84,
  });
  const nodes = [box("a", 1, 0), box("b", 1, 100), box("c", 2, 60), { ...box("end", 3, 60), kind: "finish" }];
  const geometry = {
    width: 800,
    height: 300,
    nodes,
    edges: [
      {
        source: "a",
        target: "c",
        kind: "wakes" as const,
        points: [
          [0, 0],
          [1, 1],
        ] as [number, number][],
      },
    ],
  };

  test("the arrow keys find the neighbour", () => {
    expect(neighbour(nodes, "a", "down")).toBe("b");
    expect(neighbour(nodes, "b", "right")).toBe("c");
    expect(neighbour(nodes, "c", "right")).toBeNull();
  });

  test("upright it fits a phone, without overlap", () => {
    const { width, boxes } = upright(geometry);
    expect(width).toBeLessThanOrEqual(360);
    for (const one of boxes)
      for (const other of boxes)
        if (one !== other)
          expect(
            one.x + one.w <= other.x ||
              other.x + other.w <= one.x ||
              one.y + one.h <= other.y ||
              other.y + other.h <= one.y,
          ).toBe(true);
  });
});

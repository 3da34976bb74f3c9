// The brain as a picture: experts as boxes, edges as thick as their activation.

import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { geometry, selected, view } from "../brain/store";
import type { Box } from "../brain/routes";
import { share } from "../figures";
import { isExpert, lying, neighbour, upright, type Drawn, type Line, type Way } from "./drawn";
import { Expert } from "./Expert";
import { glow, lit, stepsAt } from "./lit";

const NARROW = 760;
const KEYS: Record<string, Way> = {
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "up",
  ArrowDown: "down",
};

export function Picture() {
  const frame = useRef<HTMLDivElement>(null);
  const narrow = useSignal(window.innerWidth < NARROW);
  const entered = useSignal<string | null>(null); // where Tab enters
  useLayoutEffect(() => {
    const watch = new ResizeObserver(([entry]) => {
      if (entry) narrow.value = entry.contentRect.width < NARROW;
    });
    if (frame.current) watch.observe(frame.current);
    return () => watch.disconnect();
  }, []);
  const drawn = useComputed(() => {
    const laid = geometry.value;
    return laid && (narrow.value ? upright(laid) : lying(laid));
  });
  useSignalEffect(() => {
    if (selected.value) entered.value = selected.value;
  });
  const picture = drawn.value;
  const press = (event: KeyboardEvent) => {
    if (picture) keyed(event, picture, (name) => (entered.value = name));
  };
  return (
    <div class={`picture${narrow.value ? " upright" : ""}`} ref={frame} onKeyDown={press}>
      {picture ? (
        <Svg drawn={picture} entered={entered.value} upright={narrow.value} />
      ) : (
        <p class="aside">Loading the picture…</p>
      )}
    </div>
  );
}

function keyed(event: KeyboardEvent, drawn: Drawn, enter: (name: string) => void): void {
  const here = (event.target as Element).closest<SVGElement>("[data-expert]");
  const name = here?.dataset["expert"];
  if (!here || !name) return;
  const way = KEYS[event.key];
  if (event.key === "Enter" || event.key === " ") selected.value = selected.value === name ? null : name;
  else if (!way) return;
  event.preventDefault();
  event.stopPropagation();
  const to = way && neighbour(drawn.boxes, name, way);
  if (!to) return;
  enter(to);
  if (selected.value) selected.value = to;
  here.ownerSVGElement?.querySelector<SVGElement>(`[data-expert="${CSS.escape(to)}"] .touch`)?.focus();
}

function Svg({ drawn, entered, upright }: { drawn: Drawn; entered: string | null; upright: boolean }) {
  const experts = drawn.boxes.filter(isExpert);
  const tabbed = entered ?? experts[0]?.name;
  return (
    <svg
      viewBox={`0 0 ${drawn.width} ${drawn.height}`}
      width={drawn.width}
      height={drawn.height}
      role="group"
      aria-label="The experts. Arrow keys go from one to the next, Enter shows its words."
    >
      <defs>
        <pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <rect width="2.2" height="7" class="hatching" />
        </pattern>
      </defs>
      {!upright && <Headings drawn={drawn} />}
      {drawn.lines.map((line) => (
        <Edge line={line} />
      ))}
      {drawn.lines.map((line) => (
        <Number line={line} />
      ))}
      {drawn.boxes
        .filter((box) => !isExpert(box))
        .map((box) => (
          <End box={box} />
        ))}
      {experts.map((box) => (
        <Expert
          key={box.name}
          box={box}
          lit={lit(view.value, box.name)}
          chosen={selected.value === box.name}
          reachable={box.name === tabbed}
          choose={() => (selected.value = selected.value === box.name ? null : box.name)}
        />
      ))}
    </svg>
  );
}

/** Above each column the steps in which its experts spoke. */
function Headings({ drawn }: { drawn: Drawn }) {
  const columns = [...new Map(drawn.boxes.filter(isExpert).map((box) => [box.level, box])).values()];
  return (
    <g class="headings" aria-hidden="true">
      {columns.map((box) => {
        const steps = stepsAt(view.value, drawn.boxes, box.level);
        return (
          <text x={box.x} y="13" class={steps.length ? "" : "faint"}>
            {steps.length ? `step ${steps.join(", ")}` : ""}
          </text>
        );
      })}
    </g>
  );
}

function Edge({ line }: { line: Line }) {
  const { state, activation } = glow(view.value, line);
  if (line.kind === "entry" && state === "idle") return null;
  const width = activation === null ? 1.2 : 1 + 3.4 * activation;
  const { x, y, turn } = line.head;
  const near = selected.value === line.source || selected.value === line.target;
  return (
    <g
      class={`edge ${line.kind} ${state}${near ? " near" : ""}`}
      data-edge={`${line.source}>${line.target}`}
      data-state={state}
    >
      <path d={line.path} style={{ strokeWidth: `${width}px` }} />
      {state === "live" && <path class="pulse" d={line.path} />}
      {line.kind !== "hears" && (
        <path class="head" d="M0,0 L-8,-4.5 L-8,4.5 Z" transform={`translate(${x} ${y}) rotate(${turn})`} />
      )}
    </g>
  );
}

function Number({ line }: { line: Line }) {
  const { state, activation } = glow(view.value, line);
  if (activation === null || state === "idle") return null;
  const { x, y, anchor } = line.label;
  return (
    <text class={`activation ${state}`} x={x} y={y} text-anchor={anchor} aria-hidden="true">
      {line.kind === "revision" ? "rev. " : ""}
      {share(activation)}
    </text>
  );
}

function End({ box }: { box: Box }) {
  const on = box.kind === "begin" ? view.value.phase !== "idle" : view.value.result !== null;
  return (
    <g class={`end${on ? " on" : ""}`} transform={`translate(${box.x} ${box.y})`}>
      <rect width={box.w} height={box.h} rx={box.h / 2} />
      <text x={box.w / 2} y={box.h / 2 + 4} text-anchor="middle">
        {box.name}
      </text>
    </g>
  );
}

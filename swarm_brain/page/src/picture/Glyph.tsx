// A shape for each state, so that colour alone distinguishes none.

import type { Light } from "./lit";

export function Glyph({ light, x, y }: { light: Light; x: number; y: number }) {
  return (
    <g class={`glyph ${light}`} transform={`translate(${x} ${y})`} aria-hidden="true">
      {shape(light)}
    </g>
  );
}

function shape(light: Light) {
  switch (light) {
    case "ok":
      return <circle r="4.5" class="solid" />;
    case "running":
      return (
        <>
          <circle r="4.5" class="ring" />
          <circle r="2" class="solid" />
        </>
      );
    case "called":
      return <path d="M-3,-4.5 L4,0 L-3,4.5 Z" class="solid" />;
    case "failed":
      return <path d="M-4,-4 L4,4 M-4,4 L4,-4" class="stroke" />;
    case "simulated":
      return <path d="M-4.5,-4.5 h9 v9 h-9 Z M-4.5,1 L1,-4.5 M-1,4.5 L4.5,-1" class="stroke" />;
    case "gated":
      return (
        <>
          <circle r="4.5" class="stroke" />
          <path d="M-3,3 L3,-3" class="stroke" />
        </>
      );
    case "paused":
      return <path d="M-2.5,-4.5 V4.5 M2.5,-4.5 V4.5" class="stroke" />;
    case "stopped":
      return <path d="M-4,-4 h8 v8 h-8 Z" class="stroke" />;
    case "resting":
      return <circle r="4.5" class="stroke faint" />;
  }
}

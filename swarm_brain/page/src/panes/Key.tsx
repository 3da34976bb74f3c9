// The server asks for a key.

import { useState } from "preact/hooks";
import { keyGiven } from "../brain/api";
import { locked, open } from "../brain/store";

export function Key() {
  const [key, type] = useState("");
  return (
    <form
      class="key"
      onSubmit={(event) => {
        event.preventDefault();
        keyGiven(key.trim());
        void open();
      }}
    >
      <h2>This server asks for a key</h2>
      <p>
        The server's owner creates one with <code>swarm-brain serve --new-key NAME</code>. It is saved for
        this tab only, until you close it.
      </p>
      {locked.value && (
        <p class="wrong" role="alert">
          {locked.value}
        </p>
      )}
      <label for="key">Key</label>
      <div class="asking">
        <input
          id="key"
          type="password"
          autocomplete="off"
          required
          value={key}
          onInput={(event) => type(event.currentTarget.value)}
        />
        <button type="submit" class="main">
          Open
        </button>
      </div>
    </form>
  );
}

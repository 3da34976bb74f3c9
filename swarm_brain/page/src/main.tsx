import { render } from "preact";
import { leave, open } from "./brain/store";
import { Page } from "./Page";
import "./style/controls.css";
import "./style/page.css";
import "./style/asking.css";
import "./style/threads.css";
import "./style/run.css";
import "./style/picture.css";
import "./style/experts.css";
import "./style/words.css";
import "./style/panes.css";
import "./style/trace.css";

render(<Page />, document.getElementById("page") as HTMLElement);
addEventListener("pagehide", leave);
void open();

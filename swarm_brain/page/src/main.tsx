import { render } from "preact";
import { leave, open } from "./brain/store";
import { Page } from "./Page";
import "./style/page.css";
import "./style/picture.css";
import "./style/panes.css";

render(<Page />, document.getElementById("page") as HTMLElement);
addEventListener("pagehide", leave);
void open();

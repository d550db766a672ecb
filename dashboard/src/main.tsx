import { render } from "preact";
import { App } from "./app.tsx";
import { connect } from "./link.ts";
import { poll } from "./poll.ts";

const place = document.getElementById("app");
if (place === null) throw new Error("the page has no place for the application");
place.replaceChildren();
render(<App />, place);
connect();
poll();

// The search of the site runs in a worker, which browsers refuse to pages from the disk.
// There a frame that nobody sees takes its place. The theme looks for the name.
"use strict";

if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    onmessage = null;
    #frame = document.createElement("iframe");
    #ready;

    constructor(url) {
      super();
      this.#frame.hidden = true;
      document.body.append(this.#frame);
      const inside = this.#frame.contentWindow;

      // What workers call to answer, and to load more of themselves.
      inside.postMessage = (data) => {
        const answer = new MessageEvent("message", { data });
        this.dispatchEvent(answer);
        this.onmessage?.(answer);
      };
      inside.importScripts = async (...urls) => {
        for (const next of urls) await load(inside, next);
      };
      this.#ready = load(inside, url);
    }

    postMessage(data) {
      const inside = this.#frame.contentWindow;
      this.#ready.then(() => inside.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.#frame.remove();
    }
  };
  window.Worker = window.IFrameWorker;

  function load(inside, url) {
    return new Promise((resolve, reject) => {
      const script = inside.document.createElement("script");
      script.src = new URL(url, location);
      script.onload = resolve;
      script.onerror = () => reject(new Error(`loading ${url}`));
      inside.document.body.append(script);
    });
  }
}

// Photos from the browser: chosen, dropped, pasted or taken with the camera. The file is the body of
// one request, whose answer is the address of the photo's page.
const dropArea = () => document.querySelector("[data-upload]");
const complain = (sentence) => {
  const place = dropArea()?.querySelector("[role=alert]");
  if (!place) return;
  place.textContent = sentence;
  place.hidden = !sentence;
};
const send = async (file) => {
  const area = dropArea();
  if (!area || !file) return;
  complain("");
  try {
    const answer = await fetch(area.dataset.upload, {
      method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" },
    });
    const isJson = answer.headers.get("Content-Type").startsWith("application/json");
    const { address, error } = isJson ? await answer.json() : { error: await answer.text() };
    if (address) document.dispatchEvent(new CustomEvent("visit", { detail: address }));
    else complain(error);
  } catch {
    complain("The photo did not arrive; is convlens explore still running?");
  }
};
const fileOf = (transfer) => [...(transfer?.files ?? [])][0];
document.addEventListener("change", ({ target }) => {
  if (target.matches("[data-upload] input[type=file]")) send(target.files[0]);
});
document.addEventListener("dragover", (event) => {
  if (!dropArea()) return;
  event.preventDefault();
  dropArea().classList.add("over");
});
document.addEventListener("dragleave", () => dropArea()?.classList.remove("over"));
document.addEventListener("drop", (event) => {
  if (!dropArea()) return;
  event.preventDefault();
  dropArea().classList.remove("over");
  send(fileOf(event.dataTransfer));
});
document.addEventListener("paste", (event) => send(fileOf(event.clipboardData)));

let stream = null;
const stopCamera = () => {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
};
document.addEventListener("click", async ({ target }) => {
  const area = dropArea();
  if (target.matches("button.camera")) {
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: true });
    } catch {
      complain("There is no camera, or the browser does not let this page use it.");
      return;
    }
    const view = area.querySelector(".viewfinder");
    view.hidden = false;
    view.querySelector("video").srcObject = stream;
    await view.querySelector("video").play();
  } else if (target.matches("button.shoot")) {
    const video = area.querySelector("video");
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    canvas.getContext("2d").drawImage(video, 0, 0);
    stopCamera();
    area.querySelector(".viewfinder").hidden = true;
    send(await canvas.convertToBlob({ type: "image/png" }));
  }
});
document.addEventListener("shown", stopCamera);

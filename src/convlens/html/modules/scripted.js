// Marks the document as scripted, so that the stylesheet shows what needs scripts.
document.documentElement.classList.add("scripted");

// Stored plotly figures: a picture until they come near the window, then the figure itself. plotly.js is loaded once.
const here = document.currentScript.src;
let plotly;
const load = () => plotly ??= new Promise((done, fail) => {
    const script = document.createElement("script");
    Object.assign(script, {src: new URL("plotly.min.js", here), onload: done, onerror: fail});
    document.head.append(script); });
const draw = async place => {
    await load();
    const figure = JSON.parse(place.querySelector("script").textContent);
    const drawn = document.createElement("div");
    drawn.style.height = place.style.height;
    place.querySelector("img").replaceWith(drawn);
    await Plotly.newPlot(drawn, {...figure, config: {responsive: true, displaylogo: false}});
    place.dataset.drawn = ""; };
document.addEventListener("DOMContentLoaded", () => {
    const seen = new IntersectionObserver(entries => entries.filter(entry => entry.isIntersecting).forEach(entry => {
        seen.unobserve(entry.target);
        draw(entry.target); }), {rootMargin: "400px"});
    document.querySelectorAll(".figure").forEach(place => seen.observe(place)); });

export { type GridOptions, imageGrid } from './image-grid.js';
export { type PlotOptions, type PlotSeries, plotLines } from './plot-lines.js';

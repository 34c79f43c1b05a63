export { type GridOptions, imageGrid } from './image-grid.js';
export { type HeatMapOptions, plotHeatMap } from './plot-heat-map.js';
export { type PlotOptions, type PlotSeries, plotLines } from './plot-lines.js';

export { architectures, efficientUNet } from './architecture.js';
export { EfficientUNet, type EfficientUNetInputs } from './efficient-unet.js';
export { type EfficientUNetConfig, efficientUNetFromImagenPytorch } from './efficient-unet-config.js';
export { imagenBase64, imagenSmallBase16, imagenSmallSR64, imagenSR256, imagenSR1024, presets } from './presets.js';

export { architectures, uvit } from './architecture.js';
export {
  presets,
  uvitH2,
  uvitH4At512,
  uvitL2,
  uvitL4,
  uvitL4At512,
  uvitM4,
  uvitS2Cifar10,
  uvitS2Coco,
  uvitS2DeepCoco,
  uvitS4CelebA,
} from './presets.js';
export { UViT, type UViTInputs } from './uvit.js';
export { type UViTConfig, uvitFromOriginal, uvitFromShapes, uvitTextToImageFromOriginal } from './uvit-config.js';

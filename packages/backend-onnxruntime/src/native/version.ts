import { createRequire } from 'node:module';

/** Version of ONNX Runtime that computes, for example `1.30.0`. */
export const version: string = (createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string })
  .version;

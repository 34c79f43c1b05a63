// `node --import ./tooling/setup/typescript.mjs`: runs TypeScript sources in every thread (`--import tsx` does so in the
// main thread alone).
import { register } from 'tsx/esm/api';

register();

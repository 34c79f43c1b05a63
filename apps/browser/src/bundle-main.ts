import { fileURLToPath } from 'node:url';
import { bundlePage } from './bundle.js';

await bundlePage(fileURLToPath(new URL('../dist/page/', import.meta.url)));

import { register } from 'tsx/esm/api';

// `--import tsx` leaves worker threads alone; this asks for it by name.
register();

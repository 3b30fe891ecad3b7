/** Of the control interface; README.md beside this file says what each version brought. */
export const API_VERSION = 1;

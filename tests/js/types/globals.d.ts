/** What uni-app's own platforms have in the place of `wx`. */
declare const uni: any;

/** An error whose message is for the person in front of the page: what happened and what to do. */
export class PageError extends Error {}

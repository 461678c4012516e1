/** Plain HTML attributes that the components of reka-ui hand on to their element, for the strict check of templates. */
export {};

declare module 'vue' {
  interface ComponentCustomProps {
    readonly 'aria-label'?: string;
    readonly 'aria-level'?: number;
    readonly placeholder?: string;
    readonly tabindex?: number | string;
    readonly title?: string;
  }
}

/// <reference types="vite/client" />

declare module '*.vue' {
  import type { DefineComponent } from 'vue'
  const component: DefineComponent<{}, {}, any>
  export default component
}

/** The environment variables SERVER and BACKEND of the build. */
declare const __SERVER__: string
declare const __BACKEND__: string

/// <reference types="@tarojs/taro" />

declare module '*.css'

/** The environment variables SERVER and BACKEND of the build. */
declare const __SERVER__: string
declare const __BACKEND__: string

import { defineConfig } from 'vite'
import uni from '@dcloudio/vite-plugin-uni'

export default defineConfig({
  plugins: [uni()],
  define: {
    __SERVER__: JSON.stringify(process.env.SERVER ?? ''),
    __BACKEND__: JSON.stringify(process.env.BACKEND ?? ''),
  },
})

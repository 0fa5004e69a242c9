import type { PropsWithChildren } from 'react'
import './app.css'

// The connection belongs to the app, not to a page: see session.ts.
export default function App({ children }: PropsWithChildren) {
  return children
}

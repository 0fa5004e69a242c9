export default definePageConfig({
  navigationBarTitleText: 'longlink',
})

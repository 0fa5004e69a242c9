export default defineAppConfig({
  pages: ['pages/chat/index'],
  window: {
    navigationBarTitleText: 'longlink',
    navigationBarTextStyle: 'black',
    navigationBarBackgroundColor: '#ffffff',
    backgroundColor: '#f4f5f7',
  },
})

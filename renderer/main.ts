/** Starts the page: styles, stores, window. */
import { createPinia } from 'pinia';
import { createApp } from 'vue';
import App from './App.vue';
import './styles/tokens.css';
import './styles/base.css';
import './styles/floating.css';

window.addEventListener('error', (event) => {
  void window.lab.app.reportError(event.message);
});
window.addEventListener('unhandledrejection', (event) => {
  void window.lab.app.reportError(String(event.reason));
});

createApp(App).use(createPinia()).mount('#app');

/** Free space around an image that is shown as a whole: up to 20 pixels, less in a small box. */
const MARGIN_PIXELS = 20;
const MARGIN_SHARE = 0.025;

/** Zoom and pan of an image in a box. Units: CSS pixels of the box; `scale` 1 shows one image pixel per CSS pixel. */
export class Viewport {
  scale = $state(1);
  x = $state(0);
  y = $state(0);

  private box = { width: 1, height: 1 };
  private image = { width: 1, height: 1 };
  /** True until the person zooms: the image then keeps fitting when the box changes. */
  private fitted = $state(true);

  get fit(): number {
    const { box, image } = this;
    const room = (side: number) => side - 2 * Math.min(MARGIN_PIXELS, MARGIN_SHARE * side);
    return Math.min(room(box.width) / image.width, room(box.height) / image.height);
  }

  get zoomed(): boolean {
    return !this.fitted;
  }

  /** Scale relative to the fitted image, in percent of the image's own pixels. */
  get percent(): number {
    return Math.round(this.scale * 100);
  }

  setImage(width: number, height: number): void {
    this.image = { width, height };
    this.reset();
  }

  setBox(width: number, height: number): void {
    this.box = { width, height };
    if (this.fitted) this.reset();
    else this.place(this.x, this.y);
  }

  reset(): void {
    this.scale = this.fit;
    this.fitted = true;
    this.place(0, 0);
  }

  /** Between the whole image and its own pixels, one to one. */
  toggleFull(): void {
    if (this.fitted) this.zoomTo(Math.max(1, this.fit * 2), this.box.width / 2, this.box.height / 2);
    else this.reset();
  }

  /** Zooms so that the point of the image under (`px`, `py`) stays where it is. */
  zoomBy(factor: number, px = this.box.width / 2, py = this.box.height / 2): void {
    this.zoomTo(this.scale * factor, px, py);
  }

  panBy(dx: number, dy: number): void {
    this.place(this.x + dx, this.y + dy);
  }

  private zoomTo(wanted: number, px: number, py: number): void {
    const scale = Math.min(Math.max(wanted, this.fit), Math.max(8, this.fit * 8));
    const ratio = scale / this.scale;
    this.scale = scale;
    this.fitted = scale <= this.fit * 1.001;
    this.place(px - (px - this.x) * ratio, py - (py - this.y) * ratio);
  }

  /** Centres what is smaller than the box; lets no edge of what is larger come inside it. */
  private place(x: number, y: number): void {
    const { box, image, scale } = this;
    const along = (at: number, room: number, size: number) =>
      size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, at));
    this.x = along(x, box.width, image.width * scale);
    this.y = along(y, box.height, image.height * scale);
  }
}

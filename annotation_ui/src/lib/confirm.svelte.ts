export interface Question {
  title: string;
  text: string;
  yes: string;
  no: string;
}

class Confirmation {
  question = $state.raw<Question | null>(null);
  private resolve: (answer: boolean) => void = () => {};

  ask(question: Question): Promise<boolean> {
    this.resolve(false);
    this.question = question;
    return new Promise((resolve) => (this.resolve = resolve));
  }

  answer(yes: boolean): void {
    this.question = null;
    this.resolve(yes);
  }
}

export const confirmation = new Confirmation();

//! The words by which codes and links are told apart, in many languages; all in lower case.
//!
//! A word counts at the beginning of a word of the text, so that endings do not matter; with a bar at
//! its end it must be the whole word. Scripts that do not separate words, or that glue short words to
//! the front of others, are searched anywhere. A line that begins with a number sign says which language follows.

#![forbid(unsafe_code)]

/// What is only said of one-time codes.
pub(super) const STRONG: &str = "
# English
verification code, verification pin, security code, one-time, one time code, one time pass, otp|, passcode,
login code, log-in code, sign-in code, sign in code, signin code, confirmation code, authentication code,
access code, activation code, auth code, 2fa code, two-factor, two-step, verify code, validation code,
temporary code, reset code, recovery code, your code, following code, this code, code below, enter the code,
enter code, code to verify, code is, magic code, single-use code,
# German
bestätigungscode, sicherheitscode, verifizierungscode, einmalcode, einmalpasswort, einmalkennwort, anmeldecode,
login-code, zugangscode, aktivierungscode, freischaltcode, prüfcode, ihr code, dein code, diesen code,
folgenden code, mtan|, einmal-code, authentifizierungscode, code lautet, zurücksetzungscode,
# French
code de vérification, code de sécurité, code de confirmation, code de validation, code à usage unique,
mot de passe à usage unique, code d'accès, code d’accès, code d'activation, code d’activation, code de connexion,
votre code, ton code, ce code, code suivant, code d'authentification, code d’authentification, code est,
code temporaire, code ci-dessous,
# Spanish
código de verificación, código de seguridad, código de confirmación, código de acceso, código de activación,
código de un solo uso, contraseña de un solo uso, código de inicio, tu código, su código, este código,
siguiente código, código es, código de autenticación, código temporal, clave de un solo uso,
código de validación,
# Portuguese
código de verificação, código de segurança, código de confirmação, código de acesso, código de ativação,
código de uso único, senha de uso único, seu código, teu código, seguinte código, código é, código abaixo,
código de autenticação, código de login, o código, código temporário, código de validação,
# Italian
codice di verifica, codice di sicurezza, codice di conferma, codice di accesso, codice di attivazione,
codice monouso, password monouso, tuo codice, suo codice, questo codice, seguente codice, codice è, codice otp,
codice temporaneo, codice di autenticazione, codice d'accesso, codice per,
# Dutch
verificatiecode, bevestigingscode, beveiligingscode, toegangscode, inlogcode, activeringscode, activatiecode,
eenmalige, uw code, je code, jouw code, deze code, volgende code, code is, controlecode, aanmeldcode,
# Polish
kod weryfikacyjny, kod weryfikacji, kod bezpieczeństwa, kod potwierdzający, kod dostępu, kod jednorazowy,
jednorazowy kod, jednorazowe hasło, hasło jednorazowe, kod aktywacyjny, twój kod, ten kod, kod to, kod logowania,
poniższy kod, następujący kod, kod do, kodu weryfikacyjnego, kod autoryzacyjny,
# Turkish
doğrulama kodu, güvenlik kodu, onay kodu, giriş kodu, aktivasyon kodu, tek kullanımlık, kodunuz, kodun, bu kodu,
aşağıdaki kod, erişim kodu, etkinleştirme kodu, kodu gir, şifreniz,
# Russian
код подтверждения, код безопасности, код проверки, код доступа, код активации, одноразовый, ваш код,
проверочный код, этот код, следующий код, код для, код входа, код авторизации, твой код, введите код,
кодом подтверждения, код:,
# Ukrainian
код підтвердження, код безпеки, код перевірки, код доступу, код активації, одноразовий, ваш код, цей код,
код для, перевірочний код, твій код, введіть код, наступний код, код входу, код авторизації,
# Arabic
رمز التحقق, رمز التأكيد, رمز الأمان, رمز الدخول, رمز التفعيل, كود التحقق, كود التفعيل, الرمز التالي,
كلمة المرور لمرة واحدة, رمزك, رمز تسجيل, هذا الرمز, لمرة واحدة, رمز المرور, رمز المصادقة, كود التأكيد,
# Hebrew
קוד אימות, קוד האימות, קוד אבטחה, קוד האבטחה, קוד חד פעמי, קוד חד-פעמי, סיסמה חד פעמית, סיסמה חד-פעמית, קוד גישה,
קוד הכניסה, קוד כניסה, הקוד שלך, קוד אישור, הקוד הבא, קוד הפעלה, קוד התחברות, הקוד הוא,
# Hindi
सत्यापन कोड, वेरिफिकेशन कोड, सुरक्षा कोड, ओटीपी, वन टाइम पासवर्ड, आपका कोड, पुष्टि कोड, लॉगिन कोड, एक्सेस कोड,
यह कोड, निम्न कोड, पुष्टिकरण कोड, एकबारगी, सक्रियण कोड, वन-टाइम,
# Chinese
验证码, 驗證碼, 校验码, 动态码, 动态密码, 一次性密码, 一次性密碼, 安全码, 安全碼, 确认码, 確認碼, 激活码, 登录码, 認證碼, 认证码, 动态口令, 一次性代码, 驗證代碼, 验证代码, 登入碼,
# Japanese
認証コード, 確認コード, 検証コード, セキュリティコード, ワンタイムパスワード, ワンタイムコード, 認証番号, 確認番号, ログインコード, アクセスコード, パスコード, 暗証番号, コードを入力, 本人確認コード,
認証キー, セキュリティ コード,
# Korean
인증번호, 인증 번호, 인증코드, 인증 코드, 확인코드, 확인 코드, 보안코드, 보안 코드, 일회용 비밀번호, 일회용, 로그인 코드, 확인번호, 확인 번호, 승인번호는, 액세스 코드,
# Vietnamese
mã xác minh, mã xác nhận, mã xác thực, mã bảo mật, mã otp, mật khẩu một lần, mã đăng nhập, mã kích hoạt,
mã của bạn, mã dùng một lần, mã sau, mã truy cập, mã là,
# Indonesian
kode verifikasi, kode otp, kode keamanan, kode konfirmasi, kode akses, kode aktivasi, kata sandi sekali pakai,
kode masuk, kode anda, kode kamu, kode berikut, sekali pakai, kode ini, kode login, kode autentikasi,
";

/// What is said of codes, and of other things too.
pub(super) const CODE: &str = "
code|, pin|, pin-code, tan|, token|, código|, codigo|, codice|, kod|, kodu|, kodem|, код, رمز, كود, קוד, कोड,
पिन, 代码, 代碼, 密码, コード, 코드, 번호, mã|, kode|, senha|, clave|, hasło|, şifre, пароль, passwort|, kennwort|,
";

/// What somebody does with a code or a link.
pub(super) const VERIFY: &str = "
verify, verification, confirm, sign in, sign-in, log in, login, authenticat, two-factor, activate, bestätig,
verifizier, anmeld, einloggen, aktivier, vérifi, confirmer, connexion, activer, verificar, confirmar,
iniciar sesión, activar, ativar, entrar|, verificare, conferma, accedi, attiva, verifi, bevestig, inloggen,
activeer, potwierd, zalogo, logowani, weryfik, aktyw, doğrula, onayla, giriş, подтверд, вход, войти, активир,
підтверд, увійти, активу, تحقق, تأكيد, تسجيل الدخول, تفعيل, אימות, לאמת, אישור, התחבר, הפעל, सत्यापित, पुष्टि,
लॉगिन, साइन इन, 验证, 驗證, 确认, 確認, 登录, 登入, 激活, 認証, ログイン, 有効, 인증, 확인, 로그인, xác minh, xác nhận, đăng nhập, kích hoạt,
verifikasi, konfirmasi, masuk, aktivasi,
";

/// What numbers are that are no codes.
pub(super) const AGAINST: &str = "
# Orders, invoices, shipments
order|, orders|, order number, order no, invoice, receipt, tracking, shipment, parcel, booking, reservation,
ticket, case number, case id, reference, ref., ref:, customer number, customer id, account number, account no,
account ending, card ending, ending in, article, item no, sku|, serial, flight, policy number, member, contract,
bestell, rechnung, sendung, paket, kundennummer, auftrag, buchung, vorgang, artikel, vertrag, aktenzeichen,
commande, facture, suivi, colis, numéro client, réservation, référence, dossier, contrat, n° client, pedido,
factura, envío, seguimiento, paquete, reserva, referencia, número de cliente, albarán, contrato, encomenda,
fatura, rastrei, rastrea, referência, nota fiscal, pedido|, protocolo, ordine, fattura, spedizione, pacco,
prenotazione, riferimento, codice cliente, codice fiscale, contratto, pratica, bestelling, bestelnummer, factuur,
zending, pakket, klantnummer, boeking, referentie, ordernummer, zamówieni, faktur, przesyłk, paczk,
numer klienta, rezerwacj, umow, nr klienta, sipariş, kargo, takip, müşteri n, rezervasyon, referans, fiş, заказ,
счёт, счет, посылк, отправлени, трек, накладн, номер клиента, брон, договор, обращени, замовлен, рахун, посилк,
відправлен, номер клієнта, догов, зверненн, طلب, فاتورة, شحن, تتبع, حجز, مرجع, رقم العميل, הזמנה, הזמנתך,
חשבונית, משלוח, מעקב, חבילה, לקוח, אסמכתא, ऑर्डर, चालान, इनवॉइस, ट्रैकिंग, शिपमेंट, बुकिंग, ग्राहक, पीएनआर, 订单,
訂單, 发票, 發票, 快递, 运单, 单号, 單號, 预订, 客户号, 编号, 注文, 請求書, 領収書, 追跡, 伝票, お客様番号, 予約, 会員番号, お問い合わせ番号, 주문, 송장, 운송장, 청구, 예약,
고객번호, 회원번호, 영수증, 접수번호, đơn hàng, hóa đơn, vận đơn, đặt chỗ, mã khách hàng, đặt phòng, mã đơn, pesanan, tagihan,
resi|, pelacakan, pemesanan, nomor pelanggan,
# Promotions
promo, coupon, discount, voucher, gift, % off, gutschein, rabatt, aktionscode, réduction, code de réduction,
cupón, descuento, desconto, cupom, sconto, buono, korting, kortingscode, actiecode, rabat, zniżk, indirim, kupon,
скидк, купон, знижк, خصم, كوبون, קופון, הנחה, कूपन, छूट, प्रोमो, 优惠, 優惠, 折扣, 邀请码, クーポン, 割引, 쿠폰, 할인, giảm giá,
khuyến mãi, diskon, referral, invite code, invitation code, sale|, bonus, loyalty, points, punkte,
# Addresses and telephones
zip|, zip code, postcode, postal, plz|, postleitzahl, code postal, cap|, kod pocztowy, posta kodu, индекс,
індекс, الرمز البريدي, מיקוד, पिन कोड, पिनकोड, 邮编, 郵遞區號, 郵便番号, 우편번호, mã bưu, kode pos, phone, tel|, tel., tel:,
fax, hotline, call us, telefon, téléphone, teléfono, telefone, telefono, telefoon, тел., телефон, هاتف, טלפון,
फ़ोन, फोन, 电话, 電話, 전화, điện thoại, telepon, street, straße, str., avenue, suite, floor, p.o. box, postfach, hrb,
vat|, ust-id, iban,
# Money, amounts, times
total, amount, balance, price, summe, betrag, montant, importe, importo, bedrag, kwota, tutar, сумм, сума,
المبلغ, סכום, राशि, 金额, 金額, 금액, số tiền, jumlah, copyright, ©, (c), error code, qr code, source code, dress code,
fehlercode, steps, followers, views, visitors, subscribers, version, build, est., since|, seit|, depuis,
area code, country code, color, colour, room, gate|, seat, meeting id, pnr|, temperature, mileage,
";

/// What money looks like, before or behind a number.
pub(super) const MONEY: &str = "
€, $, £, ¥, ₽, ₴, ₺, ₹, ₩, ₫, zł, eur, usd, gbp, chf, pln, try, tl, rub, руб, грн, р., inr, rs, rp, idr, vnd, đ,
元, 円, 원, krw, jpy, cny, kr, ر.س, درهم, ريال, ₪, रुपये, r$, %, đồng,
";

/// What stands on a link that verifies something.
pub(super) const LINK_VERIFY: &str = "
verify, confirm, activate, validate, complete registration, complete your registration, complete sign,
finish sign, finish setting, bestätig, verifizier, aktivier, freischalt, vérifi, activer, valider, verific,
activar, validar, ativar, conferma, attiva, convalida, verifieer, verifiëren, bevestig, activeer, activeren,
potwierd, aktywuj, zweryfikuj, weryfik, doğrula, onayla, etkinleştir, aktifleştir, подтверд, активир, верифи,
підтверд, активу, верифік, تأكيد, تحقق, تفعيل, أكد, فعّل, فعل حساب, אישור, אמת, אימות, הפעל, לאמת, אשר, पुष्टि,
सत्यापित, सत्यापन, सक्रिय, 验证, 驗證, 确认, 確認, 激活, 啟用, 认证, 認証, 有効, 検証, 登録を完了, 인증, 확인, 활성화, xác minh, xác nhận,
xác thực, kích hoạt, verifikasi, konfirmasi, aktifkan, aktivasi,
";

/// What stands on a link that lets somebody in, if it carries a secret.
pub(super) const LINK_ENTER: &str = "
sign in, sign-in, log in, login, magic link, reset, set password, set a password, set your password,
new password, change password, change your password, choose a, accept invit, einlogg, anmelden, zurücksetz,
passwort, connecter, connexion, réinitialis, mot de passe, iniciar sesión, restablec, contraseña, acceder,
entrar|, redefinir, senha, accedi, reimposta, password, inloggen, wachtwoord, herstel, zaloguj, hasł, resetuj,
giriş, şifre, sıfırla, войти, вход, парол, сброс, увійти, вхід, скинути, تسجيل الدخول, كلمة المرور, התחברות,
התחבר, סיסמה, לאפס, איפוס, लॉगिन, साइन इन, पासवर्ड, 登录, 登入, 重置, 重設, 密码, 密碼, ログイン, パスワード, 再設定, 로그인, 비밀번호, 재설정,
đăng nhập, mật khẩu, đặt lại, masuk, kata sandi, atur ulang,
";

/// What stands on links that verify nothing, whatever else stands there.
pub(super) const LINK_AGAINST: &str = "
unsubscribe, opt out, opt-out, preferences, privacy, terms, view in browser, view online, help, support, contact,
track, order, invoice, shop, delivery, appointment, booking, not you, wasn't you, did not, didn't, cancel,
report, decline, attend, rsvp, abmelden, abbestell, datenschutz, impressum, bestellung, lieferung, termin,
désabonn, désinscri, confidentialité, commande, livraison, rendez-vous, darse de baja, cancelar, privacidad,
pedido, entrega, cita|, descadastr, cancelar inscri, privacidade, disiscri, annulla, ordine, consegna, afmelden,
uitschrijven, bestelling, bezorg, levering, wypisz, rezygn, anuluj, zamówieni, dostaw, abonelikten, iptal,
sipariş, teslimat, отписа, отказа, заказ, доставк, відписа, скасува, замовлен, إلغاء, الطلب, הסר, ביטול, הזמנה,
משלוח, सदस्यता रद्द, अनसब्सक्राइब, ऑर्डर, 退订, 取消订阅, 退訂, 取消, 订单, 訂單, 配信停止, 購読解除, 登録解除, 注文, 配送, 수신거부, 수신 거부, 구독 취소,
주문, 배송, hủy đăng ký, hủy, đơn hàng, giao hàng, berhenti berlangganan, pesanan, pengiriman,
";

/// What stands in the address of a link that verifies something.
pub(super) const URL_VERIFY: &str = "
verify, verif, confirm, activat, validat, optin, opt-in, doi, bestaetig, aktivier, freischalt, conferma, attiva,
ativar, bevestig, potwierdz, aktyw, dogrula, onay, podtver, email-check, emailcheck, xac-nhan, xac-minh,
kich-hoat, konfirmasi, complete-registration, registration/complete,
";

/// What stands in the address of a link that lets somebody in.
pub(super) const URL_ENTER: &str = "
login, signin, sign-in, magic, reset, password, auth, token=, invite, callback, otp, session, recover,
";

/// Whose links verify nothing.
pub(super) const HOST_AGAINST: &str = "unsub, facebook., twitter., linkedin., instagram.";

/// What stands in the address of a link that verifies nothing.
pub(super) const URL_AGAINST: &str = "
unsub, optout, opt-out, preference, privacy, abmelde, desabon, desinscri, baja, afmeld, uitschrij, track, order,
invoice, newsletter, cancel, help, support, terms, facebook., twitter., linkedin., instagram., report, feedback,
survey, delivery, mailto:,
";

/// The words of a list.
pub(super) fn each(list: &'static str) -> impl Iterator<Item = &'static str> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

/// A word without its mark, and whether it must be a whole word.
pub(super) fn unmarked(word: &'static str) -> (&'static str, bool) {
    match word.strip_suffix('|') {
        Some(word) => (word, true),
        None => (word, false),
    }
}

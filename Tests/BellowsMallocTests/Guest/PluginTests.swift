import Testing

extension Guest {
  /// Plug-ins that are opened with RTLD_DEEPBIND share the program's heap; all else about dlopen is libc's.
  @Suite struct PluginTests {
    /// What each extension is for, so that blocks go between it, its libraries and the program.
    private static let script = #"""
      $made = [
        'gd' => fn() => [$i = imagecreatetruecolor(300, 200), imagefilledellipse($i, 150, 100, 90, 60, 0xff8800),
                         ob_start(), imagepng($i), strlen(ob_get_clean()) > 500][4],
        'imagick' => fn() => [$i = new Imagick(), $i->newImage(200, 100, new ImagickPixel('red')), $i->setImageFormat('png'),
                              $i->resizeImage(90, 50, Imagick::FILTER_LANCZOS, 1), strlen($i->getImageBlob()) > 100][4],
        'intl' => fn() => [(new NumberFormatter('de_DE', NumberFormatter::DECIMAL))->format(1234567.891),
                           transliterator_transliterate('Any-Latin; Latin-ASCII', 'Ω'), collator_create('sv')->compare('z', 'ö')],
        'mbstring' => fn() => mb_convert_encoding(mb_strtoupper('größe'), 'UTF-16BE', 'UTF-8'),
        'dom' => fn() => [$d = new DOMDocument(), $d->loadHTML('<p>a<b>c</b>' . str_repeat('<i>x</i>', 2000)),
                          (new DOMXPath($d))->query('//i')->length][2],
        'xsl' => fn() => [$x = new DOMDocument(), $x->loadXML('<x:stylesheet version="1.0" xmlns:x="http://www.w3.org/1999/XSL/'
                          . 'Transform"><x:template match="/"><r><x:value-of select="count(//a)"/></r></x:template></x:stylesheet>'),
                          $p = new XSLTProcessor(), $p->importStylesheet($x), $d = new DOMDocument(), $d->loadXML('<r><a/><a/></r>'),
                          $p->transformToXml($d)][6],
        'SimpleXML' => fn() => count(simplexml_load_string('<r>' . str_repeat('<a k="v">t</a>', 3000) . '</r>')->a),
        'xmlwriter' => fn() => [$w = new XMLWriter(), $w->openMemory(), $w->writeElement('a', 'b'), $w->outputMemory()][3],
        'sqlite3' => fn() => [$q = new SQLite3(':memory:'), $q->exec('create table t(a); insert into t values(1),(2),(3)'),
                              $q->querySingle('select group_concat(a || hex(zeroblob(2000))) from t')][2],
        'pdo_sqlite' => fn() => (new PDO('sqlite::memory:'))->query('select 6 * 7')->fetchColumn(),
        'curl' => fn() => [$c = curl_init('file:///etc/passwd'), curl_setopt($c, CURLOPT_RETURNTRANSFER, true),
                           strlen(curl_exec($c)) > 10, curl_close($c)][2],
        'bcmath' => fn() => bcpow('12345678901234567890', '40', 10),
        'gmp' => fn() => gmp_strval(gmp_fact(2000)),
        'zip' => fn() => [$f = tempnam('/tmp', 'z'), $z = new ZipArchive(), $z->open($f, ZipArchive::OVERWRITE),
                          $z->addFromString('a', str_repeat('b', 100000)), $z->close(), $z->open($f), strlen($z->getFromName('a')),
                          $z->close(), unlink($f)][6],
        'zlib' => fn() => strlen(gzuncompress(gzcompress(str_repeat('abc', 100000)))),
        'bz2' => fn() => strlen(bzdecompress(bzcompress(str_repeat('abc', 100000)))),
        'soap' => fn() => get_class(new SoapClient(null, ['location' => 'http://localhost/', 'uri' => 'u'])),
        'tidy' => fn() => strlen(tidy_repair_string('<p>a<b>b' . str_repeat('<i>x', 200))) > 100,
        'yaml' => fn() => yaml_parse(yaml_emit(['a' => range(1, 500)]))['a'][499],
        'igbinary' => fn() => count(igbinary_unserialize(igbinary_serialize(range(1, 5000)))),
        'msgpack' => fn() => count(msgpack_unpack(msgpack_pack(range(1, 5000)))),
        'openssl' => fn() => [$k = openssl_pkey_new(['private_key_bits' => 1024]), openssl_sign('x', $s, $k),
                              openssl_verify('x', $s, openssl_pkey_get_details($k)['key'])][2],
        'sodium' => fn() => strlen(sodium_crypto_secretbox('x', str_repeat('n', 24), str_repeat('k', 32))),
        'iconv' => fn() => iconv('UTF-8', 'ISO-8859-15//TRANSLIT', 'weiß €'),
        'mysqli' => fn() => mysqli_get_client_info() !== '' && mysqli_init() !== false,
        'pgsql' => fn() => @pg_connect('host=/nonexistent') === false,
        'ldap' => fn() => ldap_connect('ldap://localhost:1') !== false,
        'redis' => fn() => get_class(new Redis()),
        'FFI' => fn() => FFI::cdef('size_t strlen(const char *);')->strlen('abcd'),
      ];
      foreach ($made as $name => $make)
        if (extension_loaded($name)) echo $name, ' ', md5(serialize($make())), "\n";
      echo count(get_loaded_extensions()), " extensions\nok\n";
      """#

    @Test("php with its extensions", .needsTool("php"), arguments: Way.allCases)
    func php(way: Way) throws {
      let command = ["php", "-d", "error_reporting=E_ERROR", "-d", "ffi.enable=1", "-r", Self.script]
      let plain = Child.run(command)
      #expect(plain.ending == .exited(0) && plain.output.hasSuffix("ok\n"), "\(plain)")
      let rows = plain.output.split(separator: "\n").count
      if Library.isRequired { #expect(rows >= 25, "Scripts/setup installs the extensions: \(plain)") }
      let environment = way.environment.merging(["LD_PRELOAD": Library.path]) { $1 }
      let child = Child.run(command, environment: environment)
      #expect(child.isClean && child.output == plain.output, "\(child)")
    }

    @Test("every way to call dlopen answers as libc's alone", arguments: ["rows", "caller"])
    func asLibc(command: String) {
      let plain = Library.runPlain("opener", command, Library.programs)
      let child = Library.run("opener", command, Library.programs)
      expectOK(child)
      #expect(child.output == plain.output)
      let found = plain.output.split(separator: "\n").filter { $0.contains(": a handle") }
      #expect(command != "caller" || found.count == 3, "\(plain)")
    }

    /// Opened before our constructor ran, too.
    @Test("a plug-in opened with RTLD_DEEPBIND has the program's malloc", arguments: Way.allCases)
    func shared(way: Way) {
      let child = Library.run("opener", "whose", Library.programs, environment: way.environment)
      #expect(child.isClean && child.output == "the program's\nok\n", "\(child)")
      let environment = way.environment.merging(["OPEN_EARLY": "1"]) { $1 }
      for early in [
        Library.run("opener", "whose", Library.programs, environment: environment, after: ["opening.so"]),
        Library.run(
          "opener", "whose", Library.programs, environment: environment, before: ["opening.so"]),
      ] {
        #expect(early.isClean && early.output == "the program's\nok\n", "\(early)")
      }
    }

    @Test(
      "and libc's where that is wished, or is the program's", arguments: ["BELLOWS_DEEPBIND", "BELLOWS_OFF"])
    func notShared(variable: String) {
      let child = Library.run("opener", "whose", Library.programs, environment: [variable: "1"])
      #expect(child.isClean && child.output == "another\nok\n", "\(child)")
      let not = Library.run("opener", "whose", Library.programs, environment: [variable: "0"])
      #expect(not.isClean && not.output == "the program's\nok\n", "\(not)")
    }
  }
}
